"""Slides that a table beside them declares: `slides.csv`, for files that are not named as bcd names slides.

| column | what it says |
| --- | --- |
| `file` | the slide: its path in the delivery or the end of it; of DICOM, a file or the folder of a series |
| `patient`, `slide` | whose it is; `slide` is a number, 0 where the cell is empty |
| `spacing` | µm per pixel, where the slide does not say it, or to confirm what it says; may be left out |
| `complete` | 1: every patch with tissue is here, 0: it is a part of a slide; may be left out |

A row without a file declares patches of the delivery: that they are all that their slide has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bcd.admission.naming import Naming
from bcd.admission.rules import Refusal
from bcd.admission.slides.names import (
    ONLY_SLIDE,
    PICTURE_SUFFIXES,
    SLIDE_SUFFIXES,
    SlideName,
    explain_slide_patient,
    is_dicom,
    is_slide,
    parse_stem,
)
from bcd.admission.sources.source import Source, UnreadableFileError, is_litter
from bcd.errors import BcdError
from bcd.files import partial_folder
from bcd.formats import format_some
from bcd.options import Microns
from bcd.patches import PatchName
from bcd.progress import say_progress
from bcd.store.table_files import (
    SPREADSHEET_SUFFIXES,
    SUFFIXES,
    parse_table_integers,
    parse_table_numbers,
    read_table_file,
    rename_table_columns,
)

if TYPE_CHECKING:
    import pandas as pd

SLIDES_FILES = frozenset(f"slides{suffix}" for suffix in (*SUFFIXES, *SPREADSHEET_SUFFIXES))
"""Names of a table of slides, in lower case; a spreadsheet is refused with the way to save it."""

MAX_BYTES = 1 << 20
"""A larger table is refused; that of 10,000 slides has half of it."""

_COLUMNS = ("file", "patient", "slide")
_SYNONYMS = {
    "file": ("filename", "path", "name"),
    "patient": ("patientid", "case", "caseid"),
    "slide": ("slideid", "slidenumber"),
    "spacing": ("mpp", "micronsperpixel", "umpx", "µmpx"),
    "complete": (),
}
_ANSWERS = {
    "": None,
    **dict.fromkeys(("1", "yes", "y", "true"), True),
    **dict.fromkeys(("0", "no", "n", "false"), False),
}
_SHOWN = 3


@dataclass(frozen=True)
class Declared:
    """What a row says.

    Attributes:
        name: Patient and slide.
        spacing: In µm per pixel; None where the row does not say it.
        complete: Whether the slide is complete; None where the row does not say it.
    """

    name: SlideName
    spacing: Microns | None
    complete: bool | None


@dataclass
class Declarations:
    """What the tables of a delivery say of its slides.

    Attributes:
        tables: Members that are tables of slides.
        refused: Refusals of tables that are faulty, or of which rows name no file.
        slides: What a table says of a slide, by the slide's file.
        complete: Patient and slide of patches that are declared to be complete, each with the table that says so.
        fault: Why no slide of the delivery can be admitted: a table that says whose they are cannot be believed.
    """

    tables: list[int] = field(default_factory=list)
    refused: dict[int, Refusal] = field(default_factory=dict)
    slides: dict[int, Declared] = field(default_factory=dict)
    complete: dict[SlideName, int] = field(default_factory=dict)
    fault: Refusal | None = None


def read_declarations(source: Source, naming: Naming, scratch: Path) -> Declarations:
    """Reads the tables of slides in a delivery.

    A table that cannot be read, or of which no row names a file, is a fault of the whole: the slides that it would
    have named are not admitted by their own names, which may be others'.

    Args:
        source: The delivery.
        naming: How its patients are called.
        scratch: Folder for a copy of a table.
    """
    found = Declarations()
    for member, name in enumerate(source.names):
        if name.rpartition("/")[2].lower() in SLIDES_FILES and not is_litter(name) and source.hazard(member) is None:
            found.tables.append(member)
            _take_table(found, member, source, naming, scratch)
    return found


def _take_table(found: Declarations, member: int, source: Source, naming: Naming, scratch: Path) -> None:
    title = PurePosixPath(source.names[member]).name
    try:
        rows = dict(_read_rows(_read_slide_table(source, member, scratch), title))
        unmatched = _match_declared_slides(found, rows, source.names, member)
    except UnreadableFileError as error:
        found.fault = Refusal(error.rule, f"{title} cannot be read: {error}.")
        found.refused[member] = found.fault
        return
    except BcdError as error:
        message = f"{error.what} {error.fix}".strip()
        found.fault = naming.show_refusal(Refusal("slides-file", message))
        found.refused[member] = found.fault
        return
    if unmatched:
        found.refused[member] = naming.show_refusal(Refusal("slides-file", _tell_unmatched(title, rows, unmatched)))
        say_progress(found.refused[member].message)
    without = [name for place, name in enumerate(source.names) if _lacks_row(found, place, name)]
    if without and not naming.hides:
        shown = format_some(without, _SHOWN)
        say_progress(f"{title} has no row for {len(without):,} of the slides, which go by their own names: {shown}.")


def _tell_unmatched(title: str, rows: dict[int, tuple[str, Declared]], unmatched: list[int]) -> str:
    shown = format_some([f"{rows[line][0]} (line {line})" for line in unmatched], _SHOWN)
    return (
        f"{len(unmatched):,} of the {len(rows):,} rows of {title} name no file of the delivery: {shown}."
        " The other rows count."
    )


def _lacks_row(found: Declarations, member: int, name: str) -> bool:
    return member not in found.slides and not is_litter(name) and is_slide(PurePosixPath(name))


def _read_slide_table(source: Source, member: int, scratch: Path) -> pd.DataFrame:
    if source.size(member) > MAX_BYTES:
        raise BcdError("The table of slides has more than 1 MiB.", "Hand the slides over in parts.")
    with partial_folder(scratch) as folder:  # what a killed process leaves goes with the next
        path = folder.joinpath(PurePosixPath(source.names[member]).name.lower())
        source.copy(member, path)
        table = rename_table_columns(path, read_table_file(path), _SYNONYMS)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise BcdError(
            f"{path.name} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns) or 'none'}.",
            "Give columns file, patient and slide.",
        )
    return table.reindex(columns=list(_SYNONYMS), fill_value="")


def _read_rows(table: pd.DataFrame, title: str) -> Iterator[tuple[int, tuple[str, Declared]]]:
    """Yields file and declaration of each row by its line.

    Raises:
        BcdError: Rows are faulty; the first of them are named.
    """
    spacings = parse_table_numbers(table["spacing"])
    faults = []
    rows = []
    for place, (line, row) in enumerate(table.assign(slide=parse_table_integers(table["slide"])).iterrows()):
        file, patient, slide = (str(row[name]) for name in _COLUMNS)
        name = parse_stem(f"{patient}_idx{slide or ONLY_SLIDE}")
        spacing = float(spacings[place]) if row["spacing"] else None
        answer = str(row["complete"]).casefold()
        if name is None:
            faults.append(
                (line, explain_slide_patient(patient) or f'the slide "{slide}" is no number of one to six digits')
            )
        elif spacing is not None and not spacing > 0:
            faults.append((line, f'the spacing "{row["spacing"]}" is no number of µm per pixel'))
        elif answer not in _ANSWERS:
            faults.append((line, f'complete is "{row["complete"]}", and 1 or 0 is understood'))
        elif not file and _ANSWERS[answer] is not True:
            faults.append((line, "it names no file, and does not declare patches complete"))
        else:
            rows.append((int(str(line)), (file, Declared(name, spacing, _ANSWERS[answer]))))
    if faults:
        shown = format_some([f"line {line}: {fault}" for line, fault in faults], _SHOWN, between="; ")
        raise BcdError(f"{title} has {len(faults):,} faulty rows: {shown}.", "Correct the table.")
    yield from rows


def _match_declared_slides(
    found: Declarations, rows: dict[int, tuple[str, Declared]], names: Sequence[str], table: int
) -> list[int]:
    """Finds the slide of each row, and returns the lines of those that have none.

    Raises:
        BcdError: A row names several slides, or two rows name one; or no row names any.
    """
    folder, _, title = names[table].rpartition("/")
    places = _Places(names, folder)
    line_of: dict[int, int] = {}
    unmatched = []
    for line, (file, declared) in rows.items():
        if not file:
            found.complete[declared.name] = table
            continue
        members, is_clear = places.find(_fold_member_path(file))
        if not is_clear:
            raise BcdError(f"{file} in line {line} of {title} may be several slides.", "Give its whole path.")
        for member in members:
            if member in found.slides:
                lines = (
                    f"Lines {line_of[member]} and {line}" if member in line_of else f"Line {line} and another table"
                )
                raise BcdError(f"{lines} of {title} name one slide, {file}.", "Remove one.")
            line_of[member] = line
            found.slides[member] = declared
        unmatched += [] if members else [line]
    if unmatched and not line_of:
        raise BcdError(_tell_unmatched(title, rows, unmatched), "Give file names as they are in the delivery.")
    return unmatched


class _Places:
    """Where slides lie: in the folder of a table and below it, or, where none is there, anywhere in the delivery."""

    def __init__(self, names: Sequence[str], folder: str) -> None:
        slides = {member: name for member, name in enumerate(names) if _may_be_slide(name)}
        below = {member: name for member, name in slides.items() if name.startswith(f"{folder}/")} if folder else {}
        self._paths = {member: _fold_member_path(name) for member, name in (below or slides).items()}
        self._by_title: dict[str, list[int]] = defaultdict(list)  # the last part of a path, which is looked up first
        self._by_folder: dict[str, list[int]] = defaultdict(list)
        for member, path in self._paths.items():
            self._by_title[path.rpartition("/")[2]].append(member)
            if is_dicom(PurePosixPath(path)):
                self._by_folder[path.rpartition("/")[0].rpartition("/")[2]].append(member)

    def find(self, file: str) -> tuple[list[int], bool]:
        """Returns the files that a row means, and whether they are one slide.

        They are the one of that path, or of a path that ends so or is an end of it, or those of a folder of DICOM.
        """
        members, is_clear = self._find(file)
        return (members, is_clear) if members else self._find(f"{file}.dcm")  # a DICOM file that has no ending

    def _find(self, file: str) -> tuple[list[int], bool]:
        last = file.rpartition("/")[2]
        alike = {member: self._paths[member] for member in self._by_title[last]}
        exact = [member for member, path in alike.items() if path == file]
        ends = [member for member, path in alike.items() if path.endswith(f"/{file}")]
        whole = exact or ends or [member for member, path in alike.items() if file.endswith(f"/{path}")]
        if whole:
            return whole, len(whole) == 1
        folder_of = {member: self._paths[member].rpartition("/")[0] for member in self._by_folder[last]}
        inside = [member for member, folder in folder_of.items() if f"/{folder}".endswith(f"/{file}")]
        return inside, len({folder_of[member] for member in inside}) <= 1


def _may_be_slide(name: str) -> bool:
    path = PurePosixPath(name)
    is_picture = path.suffix.lower() in SLIDE_SUFFIXES | PICTURE_SUFFIXES
    return is_picture and PatchName.parse(path.name) is None and not is_litter(name)


def _fold_member_path(file: str) -> str:
    """Returns a path as it is compared: in one case, and with slashes where Windows has another sign."""
    return file.replace("\\", "/").removeprefix("./").strip("/").casefold()
