"""What the names of a delivery's files say, before any file is read: which are patches, slides, labels, litter.

Patches are read in canonical order, so that their pixels can be written once, where they stay.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.admission.naming import Naming
from bcd.admission.rules import Refusal, check_folders, check_place, folder_label
from bcd.admission.slides.names import companions, is_slide, parse_slide_name
from bcd.admission.sources.source import Source, is_litter
from bcd.patches import PatchName
from bcd.store.table_files import SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

LABELS_FILES = frozenset(f"labels{suffix}" for suffix in (*SUFFIXES, ".xlsx", ".xls", ".ods"))
"""Names of a table of labels beside the patches; a spreadsheet is refused with the way to save it."""

UNLABELLED = -1
"""What stands for no label in a column of int8."""


@dataclass(frozen=True)
class SlideFile:
    """A slide among the files of a delivery.

    Attributes:
        member: The file to open.
        companions: Other files that belong to it.
        patient: Whose it is.
        slide: The slide's identifier.
    """

    member: int
    companions: list[int]
    patient: str
    slide: str


@dataclass(frozen=True)
class Plan:
    """What is to be read of a delivery.

    Attributes:
        names: Every file's path as it may be seen, by member.
        litter: Members that an operating system left behind.
        refused: Refusals that the listing shows, by member.
        patches: member (int32), patient, slide (category), x, y (int32), label (int8) in canonical order.
        slides: Slides to cut into patches.
        tables: Members that are tables of labels.
        shown_blank: Members that are admitted even if they show nothing.
    """

    names: Sequence[str]
    litter: list[int]
    refused: dict[int, Refusal]
    patches: pd.DataFrame
    slides: list[SlideFile]
    tables: list[int]
    shown_blank: set[int]


def plan_admission(source: Source, naming: Naming, *, waived: Mapping[str, str], labels: Mapping[str, int]) -> Plan:
    """Reads the names of a delivery's files.

    Args:
        source: The delivery.
        naming: How its patients and files are called.
        waived: For a file's name, the one rule that it may break.
        labels: For a file's name, the label that counts instead of what its name says.
    """
    return _Planner(source, naming, waived, labels).plan()


class _Planner:
    """Goes through the names of a delivery once, and puts each where it belongs."""

    def __init__(self, source: Source, naming: Naming, waived: Mapping[str, str], labels: Mapping[str, int]) -> None:
        self._source, self._naming, self._waived, self._labels = source, naming, waived, labels
        self._top = _enclosing_folders(source.names)
        self._columns = _Columns(naming)
        self._taken: set[int] = set()  # by a slide, of which they are a part
        self._litter: list[int] = []
        self._refused: dict[int, Refusal] = {}
        self._slides: list[SlideFile] = []
        self._tables: list[int] = []
        self._shown_blank: set[int] = set()

    def plan(self) -> Plan:
        names, naming = self._source.names, self._naming
        for member, name in enumerate(names):
            self._take(member, name)
        for member in self._taken & self._refused.keys():  # listed before the slide that it belongs to
            del self._refused[member]
        shown = [naming.show(name) for name in names] if naming.hides else names
        patches = self._columns.as_frame()
        return Plan(shown, self._litter, self._refused, patches, self._slides, self._tables, self._shown_blank)

    def _take(self, member: int, name: str) -> None:
        folder, _, file = name.rpartition("/")
        patch = PatchName.parse(file)
        hazard = self._source.hazard(member)
        if is_litter(name):
            self._litter.append(member)
        elif hazard is not None:
            self._refused[member] = self._naming.show_refusal(Refusal(*hazard))
        elif patch is not None:
            self._take_patch(member, folder.split("/") if folder else [], patch, name)
        elif file.lower() in LABELS_FILES:
            self._tables.append(member)
        elif member not in self._taken:
            self._take_other(member, PurePosixPath(name))

    def _take_patch(self, member: int, folders: list[str], patch: PatchName, name: str) -> None:
        waived = self._waived.get(name)
        broken = (check_folders(folders, patch, self._top), check_place(patch))
        refusal = next((one for one in broken if one is not None and one.rule != waived), None)
        if refusal is not None:
            self._refused[member] = self._naming.show_refusal(refusal)
            return
        said = folder_label(folders, patch) if patch.label is None else patch.label
        self._columns.append(member, patch, self._labels.get(name, said))
        if waived == "blank":
            self._shown_blank.add(member)

    def _take_other(self, member: int, path: PurePosixPath) -> None:
        """Takes a file for a slide, or refuses its name."""
        parsed = parse_slide_name(path) if is_slide(path) else None
        if parsed is None:
            title = self._naming.show_title(path.name)
            self._refused[member] = Refusal("name", f"{title} is not named as a patch.")
            return
        parts = [one for one in companions(self._source.names, member) if self._may_belong(one, path)]
        self._taken.update(parts)
        patient, slide = parsed
        self._slides.append(SlideFile(member, parts, self._naming.patient(patient), slide))

    def _may_belong(self, member: int, slide: PurePosixPath) -> bool:
        """Whether a file beside a slide is nothing of its own, and safe to be copied beside it."""
        path = PurePosixPath(self._source.names[member])
        own = PatchName.parse(path.name) is not None or path.name.lower() in LABELS_FILES or is_litter(str(path))
        is_other_slide = is_slide(path) and slide.suffix.lower() != ".dcm"
        return not own and not is_other_slide and self._source.hazard(member) is None


def _enclosing_folders(names: Sequence[str]) -> int:
    """Counts the folders that enclose all patches; they mean nothing."""
    folders: set[str] = set()
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in folders and PatchName.parse(file):
            folders.add(folder)
    levels = zip(*(folder.split("/") if folder else [] for folder in folders), strict=False)
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


class _Columns:
    """Gathers what names say, an integer where it can: a delivery may have hundreds of thousands of files."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._rows = array("i")
        self._patients: dict[str, int] = {}
        self._slides: dict[str, int] = {}

    def append(self, member: int, patch: PatchName, label: int | None) -> None:
        patient = self._patients.setdefault(patch.patient, len(self._patients))
        slide = self._slides.setdefault(patch.slide, len(self._slides))
        self._rows.extend((member, patient, slide, patch.x, patch.y, UNLABELLED if label is None else label))

    def as_frame(self) -> pd.DataFrame:
        import pandas as pd

        rows = np.frombuffer(self._rows, np.int32).reshape(-1, 6)
        patients = [self._naming.patient(patient) for patient in self._patients]
        frame = _empty_patches(rows)
        frame["patient"] = _category(rows[:, 1], patients)
        frame["slide"] = _category(rows[:, 2], list(self._slides))
        order = np.lexsort((frame["x"], frame["y"], frame["slide"].cat.codes, frame["patient"].cat.codes))
        return pd.DataFrame(frame.iloc[order].reset_index(drop=True))


def _empty_patches(rows: np.ndarray | None = None) -> pd.DataFrame:
    import pandas as pd

    rows = np.empty((0, 6), np.int32) if rows is None else rows
    frame = pd.DataFrame(
        {"member": rows[:, 0], "patient": _category(rows[:, 1], []), "slide": _category(rows[:, 2], [])}
    )
    return frame.assign(x=rows[:, 3], y=rows[:, 4], label=rows[:, 5].astype(np.int8))


def _category(codes: np.ndarray, names: Sequence[str]) -> Any:
    """Names by their code, the categories in the order of text, so that codes sort as names do."""
    import pandas as pd

    if not names:
        return pd.Categorical([None] * len(codes), categories=[])
    categories = sorted(set(names))
    place = {name: code for code, name in enumerate(categories)}
    to_place = np.array([place[name] for name in names], np.int32)
    return pd.Categorical.from_codes(to_place[codes], categories=pd.Index(categories))
