"""What the names of a delivery's files say, before any file is read: which are patches, slides, labels, litter.

Patches are read in canonical order, so that their pixels can be written once, where they stay.
"""

from __future__ import annotations

import dataclasses
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

if TYPE_CHECKING:
    import pandas as pd

LABELS_FILES = frozenset({"labels.csv", "labels.parquet"})
"""Names of a table of labels beside the patches."""

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
    names = source.names
    shown = [naming.show(name) for name in names] if naming.hides else names
    plan = Plan(shown, [], {}, _empty_patches(), [], [], set())
    top = _enclosing_folders(names)
    rows = _Columns(naming)
    taken: set[int] = set()
    for member, name in enumerate(names):
        folder, _, file = name.rpartition("/")
        patch = PatchName.parse(file)
        hazard = source.hazard(member)
        if is_litter(name):
            plan.litter.append(member)
        elif hazard is not None:
            plan.refused[member] = naming.show_refusal(Refusal(*hazard))
        elif patch is not None:
            folders = folder.split("/") if folder else []
            broken = (check_folders(folders, patch, top), check_place(patch))
            refusal = next((one for one in broken if one is not None and one.rule != waived.get(name)), None)
            if refusal is None:
                said = folder_label(folders, patch) if patch.label is None else patch.label
                rows.append(member, patch, labels.get(name, said))
            else:
                plan.refused[member] = naming.show_refusal(refusal)
            if waived.get(name) == "blank":
                plan.shown_blank.add(member)
        elif file.lower() in LABELS_FILES:
            plan.tables.append(member)
        elif member not in taken:
            _plan_other(plan, names, member, naming, taken)
    for member in taken & plan.refused.keys():  # listed before the slide that it belongs to
        del plan.refused[member]
    return dataclasses.replace(plan, patches=rows.as_frame())


def _plan_other(plan: Plan, names: Sequence[str], member: int, naming: Naming, taken: set[int]) -> None:
    """Takes a file for a slide, or refuses its name."""
    path = PurePosixPath(names[member])
    parsed = parse_slide_name(path) if is_slide(path) else None
    if parsed is None:
        plan.refused[member] = Refusal("name", f"{PurePosixPath(plan.names[member]).name} is not named as a patch.")
        return
    belong = companions(names, member)
    taken.update(belong)
    patient, slide = parsed
    plan.slides.append(SlideFile(member, belong, naming.patient(patient), slide))


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
