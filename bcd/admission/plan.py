"""What the names of a delivery's files say, before any file is read: which are patches, slides, labels, litter.

Patches are read in canonical order, so that their pixels can be written once, where they stay.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.admission.declared import SLIDES_FILES, Declarations
from bcd.admission.naming import Naming
from bcd.admission.rules import Refusal, check_folders, folder_label, refuse_off_grid
from bcd.admission.slides.names import (
    PICTURE_SUFFIXES,
    SlideName,
    explain_misfit,
    find_companion_files,
    is_dicom,
    is_slide,
    name_by_file,
    names_its_slide,
    parse_slide_name,
)
from bcd.admission.sources.member_names import ShownNames
from bcd.admission.sources.source import Source, is_litter
from bcd.options import Microns
from bcd.patches import PatchName, PatientId, SlideId, is_patch_of_another_format, split_patch_name
from bcd.store.table_files import SPREADSHEET_SUFFIXES, SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

LABELS_FILES = frozenset(f"labels{suffix}" for suffix in (*SUFFIXES, *SPREADSHEET_SUFFIXES))
"""Names of a table of labels beside the patches; a spreadsheet is refused with the way to save it."""

WHY_PNG = "JPEG and WebP change the pixels, and of other formats nothing tells that a file is damaged"
"""Why a patch is a PNG."""

UNLABELLED = -1
"""What stands for no label in a column of int8."""


_NONE: Mapping[str, str] = MappingProxyType({})
_NO_LABELS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class SlideFile:
    """A slide among the files of a delivery.

    Attributes:
        member: The file to open.
        companions: Other files that belong to it.
        patient: Whose it is.
        slide: The slide's identifier.
        is_numbered: Whether the delivery says which of the patient's slides it is, and not only whose.
        spacing: In µm per pixel, as a table says; None where none does.
        complete: Whether a table says that it is complete, or a part; None where none says.
    """

    member: int
    companions: list[int]
    patient: PatientId
    slide: SlideId
    is_numbered: bool = True
    spacing: Microns | None = None
    complete: bool | None = None


@dataclass(frozen=True)
class AdmissionPlan:
    """What is to be read of a delivery.

    Attributes:
        names: Every file's path as it may be seen, by member.
        litter: Members that an operating system left behind.
        refused: Refusals that the listing shows, by member.
        patches: member (int32), patient, slide (category), x, y (int32), label (int8) in canonical order.
        slides: Slides to cut into patches.
        tables: Members that are tables of labels.
        slide_tables: Members that are tables of slides and are not refused.
        complete: Patient and slide of patches that are declared to be complete, each with the table that says so.
        shown_blank: Members that are admitted even if they show nothing.
    """

    names: Sequence[str]
    litter: list[int]
    refused: dict[int, Refusal]
    patches: pd.DataFrame
    slides: list[SlideFile]
    tables: list[int]
    slide_tables: list[int]
    complete: dict[SlideName, int]
    shown_blank: set[int]


def plan_admission(
    source: Source,
    naming: Naming,
    *,
    declared: Declarations | None = None,
    title: str = "",
    any_name: bool = False,
    waived: Mapping[str, str] = _NONE,
    labels: Mapping[str, int] = _NO_LABELS,
) -> AdmissionPlan:
    """Reads the names of a delivery's files.

    Args:
        source: The delivery.
        naming: How its patients and files are called.
        declared: What its tables say of its slides; None: nothing.
        title: Name of the folder that the delivery is, which DICOM files that lie in it go by.
        any_name: Whether a slide whose name is none of bcd's goes by whatever it is called, and a picture that is the
            only file is a slide.
        waived: For a file's name, the one rule that it may break.
        labels: For a file's name, the label that counts instead of what its name says.
    """
    planner = _Planner(
        source, naming, declared or Declarations(), title=title, any_name=any_name, waived=waived, labels=labels
    )
    return planner.plan()


class _Planner:
    """Goes through the names of a delivery once, and puts each where it belongs."""

    def __init__(
        self,
        source: Source,
        naming: Naming,
        declared: Declarations,
        *,
        title: str,
        any_name: bool,
        waived: Mapping[str, str],
        labels: Mapping[str, int],
    ) -> None:
        self._source, self._naming, self._waived, self._labels = source, naming, waived, labels
        self._declared, self._title, self._any_name = declared, title, any_name
        self._top = _enclosing_folders(source.names)
        self._columns = _Columns(naming, len(source.names))
        self._taken: set[int] = set()  # by a slide, of which they are a part
        self._litter: list[int] = []
        self._refused: dict[int, Refusal] = dict(declared.refused)
        self._slides: list[SlideFile] = []
        self._tables: list[int] = []
        self._shown_blank: set[int] = set()

    def plan(self) -> AdmissionPlan:
        names, naming = self._source.names, self._naming
        for member, name in self._take_usual():
            self._take(member, name)
        for member in self._taken & self._refused.keys():  # listed before the slide that it belongs to
            del self._refused[member]
        shown = ShownNames(names, naming.show) if naming.hides else names
        patches = self._columns.as_frame()
        declared = self._declared
        return AdmissionPlan(
            names=shown,
            litter=self._litter,
            refused=self._refused,
            patches=patches,
            slides=self._slides,
            tables=self._tables,
            slide_tables=[table for table in declared.tables if table not in declared.refused],
            complete={
                (naming.patient(patient), slide): table for (patient, slide), table in declared.complete.items()
            },
            shown_blank=self._shown_blank,
        )

    def _take_usual(self) -> Iterator[tuple[int, str]]:
        """Takes what nearly all names are, a patch that breaks no rule; yields each other before the next.

        What folders say is the same of all patches of a patient and a label that lie in them, and looked at once.
        """
        said: dict[tuple[str, str, str | None], int | None] = {}
        hazard, append = self._source.hazard, self._columns.append
        for member, name in enumerate(self._source.names):
            folder, _, file = name.rpartition("/")
            parts = split_patch_name(file)
            if parts is None:
                yield member, name
                continue
            patient, slide, x, y, label = parts
            key = folder, patient, label
            if key not in said:
                said[key] = self._look_at_folder(name)
            by_folder, column, row = said[key], int(x), int(y)
            if by_folder is None or refuse_off_grid(column, row) or hazard(member) is not None:
                yield member, name
            else:
                append(member, PatientId(patient), SlideId(slide), (column, row), by_folder)

    def _look_at_folder(self, name: str) -> int | None:
        """Returns the label of a patch by its name and folders, UNLABELLED where neither says it; None: look on."""
        folder, _, file = name.rpartition("/")
        patch, folders = PatchName.parse(file), folder.split("/") if folder else []
        if patch is None or self._waived or self._labels or is_litter(name):
            return None
        if check_folders(folders, patch, self._top) is not None:
            return None
        return _find_said_label(folders, patch)

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
        elif member not in self._taken and member not in self._declared.tables:
            self._take_other(member, PurePosixPath(name))

    def _take_patch(self, member: int, folders: list[str], patch: PatchName, name: str) -> None:
        waived = self._waived.get(name)
        broken = (check_folders(folders, patch, self._top), refuse_off_grid(patch.x, patch.y))
        refusal = next((one for one in broken if one is not None and one.rule != waived), None)
        if refusal is not None:
            self._refused[member] = self._naming.show_refusal(refusal)
            return
        label = self._labels.get(name, _find_said_label(folders, patch))
        self._columns.append(member, patch.patient, patch.slide, (patch.x, patch.y), label)
        if waived == "blank":
            self._shown_blank.add(member)

    def _take_other(self, member: int, path: PurePosixPath) -> None:
        """Takes a file for a slide, or refuses its name."""
        name, declared = self._name_of(member), self._declared.slides.get(member)
        if name is None:
            self._refused[member] = self._refuse_name(path)
            return
        if self._declared.fault is not None:  # which may be the table that says whose the slide is
            self._refused[member] = self._declared.fault
            return
        parts = find_companion_files(self._source.names, member, self._name_of)
        parts = [one for one in parts if self._may_belong(one, path)]
        self._taken.update(parts)
        patient, slide = self._naming.patient(name[0]), name[1]
        if declared is None:
            is_numbered = names_its_slide(self._in_title(path))
            self._slides.append(SlideFile(member, parts, patient, slide, is_numbered=is_numbered))
        else:
            made = SlideFile(member, parts, patient, slide, spacing=declared.spacing, complete=declared.complete)
            self._slides.append(made)

    def _name_of(self, member: int) -> SlideName | None:
        """Returns which slide a file is: as a table says, or else its name."""
        declared = self._declared.slides.get(member)
        if declared is not None:
            return declared.name
        path = PurePosixPath(self._source.names[member])
        if is_patch_of_another_format(path.name):
            return None
        name = parse_slide_name(self._in_title(path))
        is_meant = self._any_name and (is_slide(path) or _is_only_picture(self._source.names, path))
        return name_by_file(self._in_title(path)) if name is None and is_meant else name

    def _in_title(self, path: PurePosixPath) -> PurePosixPath:
        """Returns a path with the delivery's own folder, where that is the one which a DICOM file lies in."""
        return self._title / path if is_dicom(path) and len(path.parts) == 1 else path

    def _refuse_name(self, path: PurePosixPath) -> Refusal:
        if is_patch_of_another_format(path.name):
            return Refusal("not-png", f"The patch is a {path.suffix.lower()}, and PNG alone is taken: {WHY_PNG}.")
        if not is_slide(path):
            title = self._naming.show_title(path.name)
            return Refusal("name", f"{title} is not named as a patch, nor as a slide.")
        reason = "" if self._naming.hides else f": {explain_misfit(self._in_title(path))}"
        ways = f"Name it PATIENT_idx5{path.suffix.lower()}, or give its patient and slide in a table slides.csv"
        return Refusal("name", f"The file is not named as a slide{reason}. {ways}.")

    def _may_belong(self, member: int, slide: PurePosixPath) -> bool:
        """Whether a file beside a slide is nothing of its own, and safe to be copied beside it."""
        path = PurePosixPath(self._source.names[member])
        is_table = path.name.lower() in LABELS_FILES | SLIDES_FILES
        own = PatchName.parse(path.name) is not None or is_table or is_litter(str(path))
        is_other_slide = is_slide(path) and not is_dicom(slide)
        return not own and not is_other_slide and self._source.hazard(member) is None


def _is_only_picture(names: Sequence[str], path: PurePosixPath) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and len(names) == 1


def _enclosing_folders(names: Sequence[str]) -> int:
    """Counts the folders that enclose all patches; they mean nothing."""
    folders: set[str] = set()
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in folders and PatchName.parse(file):
            folders.add(folder)
    levels = zip(*(folder.split("/") if folder else [] for folder in folders), strict=False)
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _find_said_label(folders: Sequence[str], patch: PatchName) -> int:
    """Returns the label that a name says, or the folders above it; UNLABELLED where none does."""
    said = folder_label(folders, patch) if patch.label is None else patch.label
    return UNLABELLED if said is None else said


class _Columns:
    """Gathers what names say as whole numbers, in 21 bytes a patch: a delivery may have millions."""

    def __init__(self, naming: Naming, most: int) -> None:
        self._naming, self._count = naming, 0
        # Of their full length at once: arrays that grow in turn leave holes between them.
        self._members, self._of_patient, self._of_slide, self._xs, self._ys = (
            array("i", bytes(4 * most)) for _ in range(5)
        )
        self._labels = array("b", bytes(most))
        self._patients: dict[str, int] = {}
        self._slides: dict[str, int] = {}

    def append(self, member: int, patient: PatientId, slide: SlideId, place: tuple[int, int], label: int) -> None:
        row = self._count
        self._members[row] = member
        self._of_patient[row] = self._patients.setdefault(patient, len(self._patients))
        self._of_slide[row] = self._slides.setdefault(slide, len(self._slides))
        self._xs[row], self._ys[row] = place
        self._labels[row] = label
        self._count += 1

    def as_frame(self) -> pd.DataFrame:
        """Returns the patches in canonical order."""
        import pandas as pd

        used = slice(self._count)
        patients = _make_category(
            np.frombuffer(self._of_patient, np.int32)[used],
            [self._naming.patient(patient) for patient in self._patients],
        )
        slides = _make_category(np.frombuffer(self._of_slide, np.int32)[used], list(self._slides))
        member, x, y = (np.frombuffer(one, np.int32)[used] for one in (self._members, self._xs, self._ys))
        label = np.frombuffer(self._labels, np.int8)[used]
        order = np.lexsort((x, y, slides.codes, patients.codes))
        columns: dict[str, Any] = {"member": member, "patient": patients, "slide": slides}
        columns |= {"x": x, "y": y, "label": label}
        return pd.DataFrame({name: column[order] for name, column in columns.items()}, copy=False)


def _make_category(codes: NDArray[np.int32], names: Sequence[str]) -> pd.Categorical[str]:
    """Names by their code, the categories in the order of text, so that codes sort as names do."""
    import pandas as pd

    categories = sorted(set(names))
    place = {name: code for code, name in enumerate(categories)}
    to_place = np.array([place[name] for name in names], np.int32)
    return pd.Categorical.from_codes(to_place[codes], categories=pd.Index(categories))
