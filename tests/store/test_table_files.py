from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.store.table_files import parse_table_integers, parse_table_numbers, read_table_file, rename_table_columns

TEXT = "patient,place,m\n00042,Köln,0.5\n7,,1\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_file(data: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write_file


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("cp1252"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace(",", "|").encode(),
        TEXT.replace(",", " , ").encode(),
        TEXT.replace("00042", '"=""00042"""').encode(),
        TEXT.replace("00042", "'00042").encode(),
        "\n".join(f'"{line}"' for line in TEXT.splitlines()).encode(),
        TEXT.replace("00042", "'00042'").encode(),
        TEXT.replace("\n", ",,\n").encode(),
        b'"patient","place","m"\n"00042","K\xc3\xb6ln","0.5"\n"7","","1"',
    ],
)
def test_the_same_table_is_read_however_a_program_writes_it(write: Callable[..., Path], data: bytes) -> None:
    table = read_table_file(write(data))
    assert table.to_dict("list") == {"patient": ["00042", "7"], "place": ["Köln", ""], "m": ["0.5", "1"]}
    assert table.index.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("sep=;\na;b\n1;2\n", [3]),
        ("\n\na,b\n1,2\n", [4]),
        ("a,b\n\n1,2\n,\n3,4\n", [3, 5]),
        ('a,b\n"1\n1",2\n3,4\n', [3, 4]),
        ("a,b\n1,2\n,\nTotal,\n", [2]),
    ],
    ids=["sep=", "blank lines above", "empty rows", "a line break in a value", "a total"],
)
def test_a_row_is_known_by_its_line_in_the_file(write: Callable[..., Path], data: str, lines: list[int]) -> None:
    assert read_table_file(write(data)).index.tolist() == lines


def test_a_last_row_that_is_no_sum_stays(write: Callable[..., Path]) -> None:
    assert len(read_table_file(write("patient,x,y\nTotal,1,\n"))) == 1
    assert len(read_table_file(write("patient,x,y\nTotal,,\n8867,1,1\n"))) == 2


def test_parquet_is_text_too(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame({"patient": ["00042", "7"], "x": [51.0, np.nan], "label": [True, False]}).to_parquet(path)
    table = read_table_file(path)
    assert table.to_dict("list") == {"patient": ["00042", "7"], "x": ["51", ""], "label": ["True", "False"]}
    assert table.index.tolist() == [1, 2]


def _archive() -> bytes:
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return b"PK\x03\x04" + file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_archive(), "spreadsheet.* CSV"),
        (b"PAR1abc", "name it .parquet"),
        (b"a\0\x89PNG", "it is not text"),
        ("a,b;c\n1,2;3\n", "as many .* as .*; say which .* such as sep=;"),
        ("a,b\n1,2,3\n", r"line 2 .*\b3\b.*\b2\b"),
        ('a,b\n1,"2\n', "cannot be read as a table"),
        ("a,\n1,2\n", r"Column 2 of table.csv has no name \(line 2 has a value"),
        ("a,a\n1,2\n", "two columns of one name, a"),
        (",".join("abc" * 50) + "\n", r"\b150\b"),
    ],
)
def test_what_is_no_table_is_said(write: Callable[..., Path], data: str | bytes, message: str) -> None:
    with pytest.raises(BcdError, match=message):
        read_table_file(write(data))


def test_an_empty_file_has_no_columns(write: Callable[..., Path]) -> None:
    assert read_table_file(write("")).shape == (0, 0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_table_file(tmp_path / "nowhere.csv")


SYNONYMS = {"patient": {"patientid", "case"}, "label": {"class"}}


def test_columns_are_known_in_any_spelling_and_others_keep_their_names(write: Callable[..., Path]) -> None:
    path = write("Patient ID,CLASS,Remark\n1,0,r\n")
    assert list(rename_table_columns(path, read_table_file(path), SYNONYMS)) == ["patient", "label", "Remark"]
    path = write("PATIENT,patient_id,label,class\n1,2,0,1\n")
    assert list(rename_table_columns(path, read_table_file(path), SYNONYMS)) == [
        "patient",
        "patient_id",
        "label",
        "class",
    ]


def test_two_columns_that_could_be_the_same_one_are_refused(write: Callable[..., Path]) -> None:
    path = write("Patient-ID,case\n1,2\n")
    with pytest.raises(BcdError, match=r"\b2 columns.*\bpatient: Patient-ID, case"):
        rename_table_columns(path, read_table_file(path), SYNONYMS)


def test_whole_numbers_are_written_plainly_unless_they_may_be_thousands() -> None:
    texts = ["1651", "1651.0", "1651,00", "1651.000", "00042.0", "1.000", "1.5", "a.0", ""]
    assert parse_table_integers(pd.Series(texts)).tolist() == [
        "1651", "1651", "1651", "1651", "00042", "1.000", "1.5", "a.0", "",
    ]  # fmt: skip


def test_numbers_have_a_decimal_point_or_comma_or_a_percent_sign() -> None:
    texts = ["0.25", "0,25", "25%", "2,5 %", "1e-3", "-4", "x", "", "1.234,5"]
    np.testing.assert_allclose(
        parse_table_numbers(pd.Series(texts)), [0.25, 0.25, 0.25, 0.025, 0.001, -4, *[np.nan] * 3]
    )
