"""A table of labels beside unlabelled patches."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from bcd.admission.admit import admit
from bcd.admission.beside import describe_delivered_labels
from bcd.admission.report import admission_report_path
from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.store.delivery_queries import list_stored_deliveries, list_stored_refusals
from bcd.store.hospitals import Identifiers, declare_hospital
from bcd.store.label_files import IMPORT
from bcd.store.patients import list_stored_patches
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")


@pytest.fixture
def unlabelled(picture) -> dict[str, bytes]:
    return {f"8867/8867_idx5_x{1 + 50 * place}_y1.png": picture(place) for place in range(4)}


def _labels(store: Store) -> list[int | None]:
    labels = list_stored_patches(store, EAST, PatientId("8867"))["label"]
    return [None if pd.isna(label) else int(label) for label in labels]


CSV = "patient,slide,x,y,label\n8867,5,1,1,1\n8867,5,51,1,0\n8867,5,101,1,\n9999,5,1,1,1\n"


def test_a_table_without_patches_is_refused_with_the_command_that_imports_it(store: Store, as_zip) -> None:
    with pytest.raises(BcdError) as caught:
        admit(store, as_zip({"labels.csv": CSV.encode()}), EAST)
    assert "labels-alone 1" in caught.value.what
    assert IMPORT in caught.value.fix


def _as_parquet(text: str) -> bytes:
    file = io.BytesIO()
    pd.read_csv(io.StringIO(text), dtype={"patient": str, "slide": str}).to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("labels.csv", CSV.encode()),
        ("export/labels.csv", b"\xef\xbb\xbf" + CSV.replace(",", ";").encode()),
        ("labels.tsv", CSV.replace(",", "\t").encode("utf-16")),
        ("labels.txt", b"sep=|\r\n" + CSV.replace(",", "|").encode()),
        ("Labels.CSV", b"name,label\n8867/8867_idx5_x1_y1.png,1\n8867_idx5_x51_y1.png,0\n"),
        ("labels.parquet", _as_parquet(CSV)),
    ],
    ids=["csv", "semicolons", "tabs", "sep=", "names", "parquet"],
)
def test_it_labels_the_patches_that_it_names(
    *, store: Store, unlabelled: dict[str, bytes], as_zip, name: str, data: bytes
) -> None:
    admission = admit(store, as_zip({**unlabelled, name: data}), EAST)
    assert _labels(store) == [1, 0, None, None]
    assert (admission.files, admission.admitted_files, admission.refused) == (5, 5, {})
    assert (admission.positive, admission.unlabelled) == (1, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff\xfe",
        b"patient,slide,x,y\n",
        CSV.replace(",1,1\n", ",1,2\n").encode(),
        CSV.encode() + b"8867,5,1,1,0",
    ],
    ids=["empty", "no text", "no label", "label 2", "two labels"],
)
def test_a_table_that_cannot_be_used_is_refused_and_the_patches_stay_unlabelled(
    *, store: Store, unlabelled: dict[str, bytes], as_zip, data: bytes
) -> None:
    admission = admit(store, as_zip({**unlabelled, "labels.csv": data}), EAST)
    assert (admission.admitted, admission.refused) == (4, {"labels-file": 1})
    assert _labels(store) == [None] * 4
    [refusal] = list_stored_refusals(store, admission.id)
    assert (store.settings.quarantine / admission.id / str(refusal.kept)).read_bytes() == data


def test_rows_that_name_no_patch_are_counted_in_the_record_the_report_and_the_closing_lines(
    store: Store, unlabelled: dict[str, bytes], as_zip
) -> None:
    admission = admit(store, as_zip({**unlabelled, "labels.csv": CSV.encode()}), EAST)
    assert (admission.label_rows, admission.unmatched_rows, admission.unlabelled) == (4, 1, 2)
    assert "line 5: 9999_idx5_x1_y1" in admission.label_note
    lines = describe_delivered_labels(store, admission)
    assert lines[1:] == [admission.label_note]
    assert re.findall(r"\d of \d", lines[0]) == ["1 of 4", "2 of 4"]
    report = admission_report_path(store.settings, admission.id).read_text()
    assert re.search(r"\b4 rows\b.*; 1 of them", " ".join(report.split()))
    [delivery] = list_stored_deliveries(store)
    assert (delivery.label_rows, delivery.unmatched_rows) == (4, 1)


@pytest.mark.parametrize("kind", ["pseudonyms", "raw"])
def test_a_table_of_which_no_row_names_a_patch_is_refused_with_the_likely_cause(
    *, store: Store, picture, as_zip, kind: Identifiers
) -> None:
    declare_hospital(store, "north", kind, SignOff("test", "test"))
    files = {f"00042_idx5_x{1 + 50 * place}_y1.png": picture(place) for place in range(2)}
    table = b"patient,slide,x,y,label\n42,5,1,1,1\n42,5,51,1,0\n"
    admission = admit(store, as_zip({**files, "labels.csv": table}), Hospital("north"))
    assert (admission.admitted, admission.unlabelled, admission.refused) == (2, 2, {"labels-file": 1})
    assert (admission.label_rows, admission.unmatched_rows) == (2, 2)
    [refusal] = list_stored_refusals(store, admission.id)
    assert "leading zeros" in refusal.message
    assert ("42_idx5_x1_y1 (line 2) | 00042_idx5_x1_y1" in refusal.message) == (kind == "pseudonyms")
    assert refusal.message in describe_delivered_labels(store, admission)
    assert "leading zeros" in admission_report_path(store.settings, admission.id).read_text()


def test_a_table_of_another_hospital_labels_nothing(store: Store, unlabelled: dict[str, bytes], as_zip) -> None:
    table = CSV.replace("label", "label,hospital").replace("\n8867", "\n8867").replace("1\n", "1,west\n")
    admission = admit(store, as_zip({**unlabelled, "labels.csv": table.encode()}), EAST)
    assert admission.unmatched_rows == table.count("west")
    assert _labels(store) == [None, 0, None, None]


def test_a_spreadsheet_is_refused_with_the_way_to_save_it(store: Store, unlabelled: dict[str, bytes], as_zip) -> None:
    admission = admit(store, as_zip({**unlabelled, "labels.xlsx": b"PK\x03\x04\x14"}), EAST)
    [refusal] = list_stored_refusals(store, admission.id)
    assert (refusal.rule, "CSV" in refusal.message) == ("labels-file", True)


def test_a_name_that_says_another_label_is_refused(store: Store, picture, as_zip) -> None:
    files = {"8867_idx5_x1_y1_class0.png": picture(1), "8867_idx5_x51_y1_class0.png": picture(2)}
    admission = admit(store, as_zip({**files, "labels.csv": CSV.encode()}), EAST)
    assert (admission.admitted, admission.refused) == (1, {"folder": 1})
