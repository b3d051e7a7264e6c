"""The patch: a 50x50 RGB region of a slide, its name, its place on the grid, and its label.

A patch of the public IDC set is named `PATIENT_idxSLIDE_xX_yY_classLABEL.png`, an unlabelled one
`PATIENT_idxSLIDE_xX_yY.png`. x is the column and y the row of its upper left pixel on the slide, counted from 1,
so both are 1 more than a multiple of 50. Case does not matter but in the patient.

Examples:
    >>> name = PatchName.parse("8867_idx5_x51_y1001_class1.png")
    >>> name.patient, name.slide, name.column, name.row, name.label
    ('8867', '5', 1, 20, 1)
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NewType, overload

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PATCH_PIXELS = 50
"""Edge of a patch, and step of the grid, in pixels."""

MICRONS_PER_PIXEL = 4.0
"""Spacing of a patch, in µm per pixel."""

FINEST = 0.1
"""µm/px: half of what light resolves; anything below is a mistake, and would make one patch a huge region."""

MOST_COARSE = 5.0
"""µm/px: a coarser slide would have to be enlarged by more than a quarter, and shows no nuclei to enlarge."""

Hospital = NewType("Hospital", str)
"""Where a delivery comes from; part of a patient's identity."""

PatientId = NewType("PatientId", str)
"""A patient's identifier within a hospital."""

SlideId = NewType("SlideId", str)
"""A slide's identifier within a patient; `5` in `idx5`."""

BatchId = NewType("BatchId", str)
"""Content hash of a batch, in hex."""

SnapshotId = NewType("SnapshotId", str)
"""Content hash of a snapshot, in hex."""

PERSON = ["hospital", "patient"]
"""The columns that name a patient."""

SLIDE = [*PERSON, "slide"]
"""The columns that name a slide."""

Person = tuple[Hospital, PatientId]
"""A patient: hospital and identifier."""

Slide = tuple[Hospital, PatientId, SlideId]
"""Hospital, patient and slide."""

CELL = [*SLIDE, "x", "y"]
"""The columns that name a patch."""

CANONICAL = [*SLIDE, "y", "x"]
"""The order of rows wherever an identity is taken from them."""


def patient_keys(patches: pd.DataFrame) -> pd.Series[str]:
    """Returns "hospital/patient" for each row of a frame that has both columns."""
    return patches["hospital"].astype(str) + "/" + patches["patient"].astype(str)


@overload
def is_on_grid(place: int) -> bool: ...
@overload
def is_on_grid(place: NDArray[np.float64]) -> NDArray[np.bool_]: ...
def is_on_grid(place: Any) -> Any:
    """Tells whether patches may begin at an x or y, or at each of an array: 1 more than a multiple of 50."""
    return (place % PATCH_PIXELS == 1) & (place > 0)


def lie_on(patches: pd.DataFrame, slides: Collection[Slide]) -> NDArray[np.bool_]:
    """Tells which patches lie on one of some slides, shape (n,); the frame has the columns of SLIDE."""
    import numpy as np

    keys = zip(*(patches[name].astype(str) for name in SLIDE), strict=True)
    return np.fromiter((key in slides for key in keys), bool, len(patches))


_NAME = re.compile(
    r"(?P<patient>[A-Za-z0-9-]{1,64})_idx(?P<slide>[0-9]{1,6})_x(?P<x>[0-9]{1,7})_y(?P<y>[0-9]{1,7})"
    r"(?:_class(?P<label>[01]))?\.png",
    re.ASCII | re.IGNORECASE,  # FAT32 writes names in upper case
)


_OTHER_FORMATS = frozenset({"jpg", "jpeg", "jpe", "webp", "bmp", "tif", "tiff", "gif", "jp2", "jxl", "heic", "npy"})


@dataclass(frozen=True, slots=True)
class PatchName:
    """What a patch's file name says.

    Attributes:
        patient: The patient's identifier within the hospital.
        slide: The slide's identifier.
        x: Column of the upper left pixel on the slide, counted from 1.
        y: Row of the upper left pixel on the slide, counted from 1.
        label: 1 = invasive ductal carcinoma, 0 = none, None = unlabelled.
    """

    patient: PatientId
    slide: SlideId
    x: int
    y: int
    label: int | None

    @classmethod
    def parse(cls, name: str) -> PatchName | None:
        """Reads a file name (without folders); None where it does not follow the grammar."""
        parts = split_patch_name(name)
        if parts is None:
            return None
        patient, slide, x, y, label = parts
        return cls(PatientId(patient), SlideId(slide), int(x), int(y), None if label is None else int(label))

    def format(self) -> str:
        """Returns the file name that `parse` reads back."""
        label = "" if self.label is None else f"_class{self.label}"
        return f"{self.patient}_idx{self.slide}_x{self.x}_y{self.y}{label}.png"

    @property
    def column(self) -> int:
        """The patch's column on the grid, counted from 0."""
        return (self.x - 1) // PATCH_PIXELS

    @property
    def row(self) -> int:
        """The patch's row on the grid, counted from 0."""
        return (self.y - 1) // PATCH_PIXELS


def split_patch_name(name: str) -> tuple[str | Any, ...] | None:
    """Splits a file name (without folders) into patient, slide, x, y and label (None where it says none), all text.

    Returns:
        None where it does not follow the grammar.
    """
    match = _NAME.fullmatch(name)
    return None if match is None else match.groups()


def is_patch_of_another_format(name: str) -> bool:
    """Whether a file (without folders) is named as a patch but as no PNG, as `8867_idx5_x51_y101_class0.jpg`."""
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() in _OTHER_FORMATS and PatchName.parse(f"{stem}.png") is not None
