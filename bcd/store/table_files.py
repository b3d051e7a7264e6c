"""Tables that people hand over (labels, predictions, slides): CSV as any program writes it, or Parquet.

| what differs | what is understood |
| --- | --- |
| encoding | UTF-8, UTF-16 and UTF-32 with or without a byte order mark, Windows-1252 |
| delimiter | comma, semicolon, tab or bar, told by the header; a first line `sep=;` says it too |
| quoting | double quotes; a spreadsheet's `="0042"` and `'0042`, which keep a text a text; whole lines quoted |
| numbers | a decimal comma; whole numbers written as `1651.0` |
| names of columns | in any case, with blanks or underscores; the synonyms that the caller names |
| rows | empty ones, a total at the end, and a column without a name that numbers them are left out |

What could mean two things is refused, with the line, the value and what is accepted.

Examples:
    >>> table = read_table_file(Path("labels.csv"))  # doctest: +SKIP
    >>> table.index[0], table.loc[2, "patient"]  # doctest: +SKIP
    (2, '00042')
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
"""How a table's file name ends."""

SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".ods")
"""How that of a spreadsheet ends, which is no table: it is to be saved as one."""

MAX_ROWS, MAX_COLUMNS = 20_000_000, 100
"""More is no table of a row a patch."""

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # xlsx and ods; xls
_TOTALS = frozenset({"total", "totals", "grand total", "sum", "count", "mean", "average", "summe", "gesamt", "somme"})
_KEPT_TEXT = re.compile(r"""^(?:="(.*)"|'(.+?)'?)$""")
_FIX = "Hand over CSV with a header, in UTF-8, or Parquet."


def read_table_file(path: Path) -> pd.DataFrame:
    """Reads a table as text.

    Returns:
        A column of text for each of the header's, by its name there; the index, `line`, says where in the file a row
        stands, counted from 1 with the header (in Parquet: the row). Without empty rows, a total at the
        end, and columns without a name that are empty or number the rows.

    Raises:
        BcdError: The file is missing or no such table; the message says what is wrong with it.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", "Check the path.") from error
    except (OSError, ValueError, csv.Error) as error:  # Arrow's errors and those of decoding are ValueErrors
        raise BcdError(f"{path.name} cannot be read as a table: {error}.", _FIX) from error
    table = table.apply(_clean_column)
    is_named = np.array(
        [name != "" or _is_count(table.iloc[:, n]) for n, name in enumerate(table.columns)], dtype=bool
    )
    unnamed = (table.loc[:, ~is_named] != "").any(axis="columns")
    if unnamed.any():
        place = int(np.flatnonzero(~is_named)[0]) + 1
        raise BcdError(
            f"Column {place} of {path.name} has no name (line {unnamed.idxmax()} has a value in it); the header"
            f" is: {', '.join(table.columns)[:80]}.",
            "Name it in the header.",
        )
    table = table.loc[:, table.columns != ""]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise BcdError(f"{path.name} has two columns of one name, {twice[0]}.", "Rename or remove one of them.")
    table = table[(table != "").any(axis="columns")]
    return table.iloc[:-1] if len(table) and _is_total(table.iloc[-1].tolist()) else table


def rename_table_columns(path: Path, table: pd.DataFrame, synonyms: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Gives columns the names that bcd calls them by.

    A column of bcd's own name, in any case, is taken before its synonyms; others keep the name that they have.

    Args:
        path: The file, for messages.
        table: What `read_table_file` returned.
        synonyms: For bcd's name of a column, what else it is called, in lower case without blanks and punctuation.

    Raises:
        BcdError: Two columns could be the same one.
    """
    plain = {column: re.sub(r"[\W_]", "", column).casefold() for column in table.columns}
    renamed: dict[str, str] = {}
    for name, others in synonyms.items():
        exact = [column for column in plain if column == name] or [c for c, said in plain.items() if said == name]
        found = exact or [column for column, said in plain.items() if said in others]
        if len(found) > 1:
            raise BcdError(
                f"{path.name} has {len(found)} columns that could be the {name}: {', '.join(found)}.",
                f"Call the right one {name}.",
            )
        renamed |= dict.fromkeys(found, name)
    return table.rename(columns=renamed)


def parse_table_integers(texts: pd.Series[str]) -> pd.Series[str]:
    """Returns texts with whole numbers written plainly, `1651.0` and `1651,0` as `1651`; all others as they are.

    `1.000` stays: it may be a thousand.
    """
    return texts.str.replace(r"^([0-9]+)[.,](?:0|00|0{4,})$", r"\1", regex=True).str.replace(
        r"^([0-9]{4,})[.,]000$", r"\1", regex=True
    )


def parse_table_numbers(texts: pd.Series[str]) -> NDArray[np.float64]:
    """Returns texts as numbers, NaN where they are none: with decimal point or comma, `26,4 %` as 0.264."""
    import pandas as pd

    is_percent = texts.str.endswith("%")
    plain = texts.str.removesuffix("%").str.strip().str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64)
    return np.where(is_percent, numbers / 100, numbers)


def _clean_column(column: pd.Series[str]) -> pd.Series[str]:
    column = column.str.strip()
    marked = column.str.startswith(("=", "'"))
    if marked.any():
        column = column.mask(marked, column.str.replace(_KEPT_TEXT, lambda m: m[1] or m[2], regex=True).str.strip())
    return column


def _is_count(column: pd.Series[str]) -> bool:
    """Whether a column numbers the rows, as pandas writes it without a name."""
    rows = column[column != ""].tolist()
    return rows in ([str(row) for row in range(len(rows))], [str(row + 1) for row in range(len(rows))])


def _is_total(row: list[str]) -> bool:
    """Whether a row sums up those above: its first word says so, and at least half of it is empty."""
    first = next(value for value in row if value)
    return 2 * row.count("") >= len(row) and first.casefold().rstrip(": ") in _TOTALS


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    # Looked at before it is read: a few bytes can stand for a thousand million equal rows.
    shape = pq.ParquetFile(path).metadata
    if shape.num_rows > MAX_ROWS or shape.num_columns > MAX_COLUMNS:
        raise ValueError(f"{shape.num_rows:,} rows and {shape.num_columns:,} columns are too many")
    table = pd.read_parquet(path)
    if not all(isinstance(name, str) for name in table.columns):
        raise ValueError("the names of its columns are not text")
    table.columns = pd.Index([name.strip() for name in table.columns], dtype="str")
    table.index = pd.RangeIndex(1, len(table) + 1, name="line")
    return table.convert_dtypes().astype("string").fillna("").astype("str")


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    file = io.StringIO(_decode_table_text(path.read_bytes()), newline="")
    delimiter, skipped = _find_delimiter(file)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if len(header) == 1 and any(one in header[0] for one in _DELIMITERS):  # a spreadsheet quoted whole lines
        inner = io.StringIO("\n".join([header[0], *(row[0] if row else "" for row in reader)]))
        delimiter, _ = _find_delimiter(inner)
        reader = csv.reader(inner, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, [])]
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"{len(header):,} columns are too many")
    width = len(header)
    lines: list[int] = []
    rows: list[list[str]] = []
    for row in reader:
        line = reader.line_num + skipped
        if len(row) > width and any(value.strip() for value in row[width:]):
            raise ValueError(f"line {line} has {len(row)} values and the header {width}: {', '.join(header)[:80]}")
        if len(rows) == MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS:,} rows are too many")
        lines.append(line)
        rows.append((row + [""] * (width - len(row)))[:width])
    table = pd.DataFrame(rows, columns=pd.Index(header, dtype="str"), dtype="str")
    table.index = pd.Index(lines, dtype="int64", name="line")
    return table


def _decode_table_text(data: bytes) -> str:
    """Returns a file's text, whatever program wrote it."""
    if data.startswith(_SPREADSHEETS):
        raise ValueError("it is a spreadsheet or an archive; save the sheet as CSV")
    if data.startswith(b"PAR1"):
        raise ValueError("it is Parquet; name it .parquet")
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "")
    if not encoding:
        even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
        if even + odd > len(data[:4096]) / 4 and not (
            even and odd
        ):  # without a mark; Latin text has a zero in each unit
            encoding = "utf-16-be" if even else "utf-16-le"
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding:
            raise
        text = data.decode("cp1252")
    if "\0" in text:
        raise ValueError("it is not text")
    return text


def _find_delimiter(file: io.StringIO) -> tuple[str, int]:
    """Finds what separates values; leaves the file at its header, and says how many lines are above it."""
    above, start, first = 0, 0, file.readline()
    while first and not first.strip():
        above, start, first = above + 1, file.tell(), file.readline()
    said = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
    if said:
        return said[1], above + 1
    file.seek(start)
    bare = re.sub(r'"[^"]*"', "", first)
    (most, delimiter), (second, other) = sorted(((bare.count(one), one) for one in _DELIMITERS), reverse=True)[:2]
    if most and most == second:
        raise ValueError(
            f"its header has as many {_DELIMITERS[other]} as {_DELIMITERS[delimiter]}; say which separate values in a"
            " line above it, such as sep=;"
        )
    return (delimiter if most else ","), above
