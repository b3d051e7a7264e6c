"""Labels of patches from annotated areas: what covers a patch of a slide decides its label, and what does not, none.

Of each patch three shares are measured, what is ignored left out: under a positive class; looked at, which is under
any class; and under a positive and a negative class at once. Shares count in whole percents.

| patch | label |
| --- | --- |
| under both kinds at once | nothing is said |
| from `positive_from` on under a positive class | IDC |
| looked at in full, at most `negative_to` under a positive class | no IDC |
| looked at in full, between the two | none: a label that stands is taken back |
| any other | nothing is said |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError, NotFoundError
from bcd.patches import PATCH_PIXELS, Hospital, Slide, SlideId
from bcd.store.annotations import read_annotation_file
from bcd.store.areas import Inside, Polygon, share_of_cells_covered
from bcd.store.frames import PATCH_FRAME, Frame, find_stored_frame
from bcd.store.options import LabelOptions
from bcd.store.patients import find_patient, list_stored_patches, name_stored_patients
from bcd.store.revisions import LabelImport, revise_labels
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class AnnotationImport:
    """What an import of annotations did.

    Attributes:
        labels: What became of the labels.
        positive: Patches that the file says are IDC.
        negative: Patches that it says are not.
        mixed: Patches that were looked at in full and are neither.
        contradicted: Patches under a positive and a negative class at once.
        silent: Other patches of the slide, of which the file says nothing.
        others: Objects of the file that are no annotations.
        frame: Of the slide; None where its patches were delivered as such.
    """

    labels: LabelImport
    positive: int
    negative: int
    mixed: int
    contradicted: int
    silent: int
    others: int
    frame: Frame | None


def import_annotated_labels(
    store: Store,
    path: Path,
    options: LabelOptions,
    *,
    hospital: str | None,
    patient: str | None,
    slide: str | None,
    sign_off: SignOff,
    asked: bool = False,
) -> AnnotationImport:
    """Labels patches of one slide by a file of annotations (`bcd.store.annotations`).

    Args:
        store: The open store.
        path: GeoJSON, in level-0 pixels of the slide, or in patch pixels where bcd did not cut it.
        options: From which covered share on a patch is labelled.
        hospital: The slide's hospital; None: as bcd wrote it into the file, or the only one that has the patient.
        patient: The patient; None: as bcd wrote it into the file.
        slide: The slide; likewise.
        sign_off: Who says so, and why.
        asked: Whether it is a list of `bcd review` with answers: a patch without a class is passed over.

    Raises:
        BcdError: The file cannot be read or is not understood, does not say which slide it is of or is of another
            one, the patient is unknown or withdrawn, or no patch gets a label by it.
    """
    annotations = read_annotation_file(path, asked=asked)
    where, who, which = _find_slide(store, path, annotations.slides, (hospital, patient, slide))
    patches = list_stored_patches(store, where, who)
    of_slide = patches[patches["slide"] == which].reset_index(drop=True)
    if of_slide.empty:
        known = ", ".join(sorted(set(patches["slide"])))
        raise NotFoundError(
            f"Patient {where}/{who} has no slide {which}.", f"Name one of the slides {known} with --slide."
        )
    frame = find_stored_frame(store, where, who, which)
    polygons = annotations.polygons
    if beside := _count_beside(polygons, of_slide, frame or PATCH_FRAME):
        why = f"has {beside:,} annotations beside all patches of the slide"
        raise _does_not_fit(path, why, polygons, of_slide, frame)
    decided = decide_labels(polygons, of_slide, frame or PATCH_FRAME, options)
    said = decided.isin(["positive", "negative", "mixed"])
    counts = {
        name: int((decided == name).sum()) for name in ("positive", "negative", "mixed", "contradicted", "silent")
    }
    if not said.any():
        both = counts["contradicted"]
        under = f" ({both:,} patches lie under a positive and a negative class at once)" if both else ""
        raise _does_not_fit(path, f"gives no patch of the slide a label{under}", polygons, of_slide, frame)
    label = decided.map({"positive": 1, "negative": 0}).astype("Int8")
    rows = of_slide.assign(label=label, line=1, identifier=who)[said]

    def call(name: str, identifiers: Collection[str]) -> Mapping[str, str] | None:
        return name_stored_patients(store, Hospital(name), identifiers)

    labels = revise_labels(store, path.name, rows, call, sign_off=sign_off, asked=asked)
    return AnnotationImport(labels, **counts, others=annotations.others, frame=frame)


def decide_labels(
    polygons: list[Polygon], patches: pd.DataFrame, frame: Frame, options: LabelOptions
) -> pd.Series[str]:
    """Says of each patch what areas make of it: positive, negative, mixed, contradicted or silent.

    Args:
        polygons: Areas by `bcd.store.annotations.Kind`, in the frame's pixels.
        patches: Columns x, y; patches of one slide.
        frame: Where they lie in those pixels.
        options: From which covered share on a patch is labelled.
    """
    import pandas as pd

    on_grid = [Polygon(one.kind, [frame.in_patches(ring) for ring in one.rings]) for one in polygons]
    columns, rows = ((patches[name].to_numpy(np.int64) - 1) // PATCH_PIXELS for name in ("x", "y"))

    def is_positive(inside: Inside) -> NDArray[np.bool_]:
        return inside("positive") & ~inside("ignored")

    def is_looked_at(inside: Inside) -> NDArray[np.bool_]:
        return (inside("positive") | inside("negative") | inside("reviewed")) & ~inside("ignored")

    def is_both(inside: Inside) -> NDArray[np.bool_]:
        return is_positive(inside) & inside("negative")

    positive, looked_at, both = (
        share_of_cells_covered(on_grid, columns, rows, wanted).round(2)
        for wanted in (is_positive, is_looked_at, is_both)
    )
    in_full = looked_at == 1
    decided = np.select(
        [
            both > 0,
            positive >= options.positive_from,
            in_full & (positive <= options.negative_to),
            in_full,
        ],
        ["contradicted", "positive", "negative", "mixed"],
        default="silent",
    )
    return pd.Series(decided, index=patches.index, dtype="str")


def _find_slide(
    store: Store,
    path: Path,
    written: frozenset[Slide],
    named: tuple[str | None, str | None, str | None],
) -> Slide:
    """Finds the slide that a file is of, as bcd wrote it into the file, or as it was named; the two must agree."""
    if len(written) > 1:
        slides = ", ".join(f"{hospital}/{patient} slide {slide}" for hospital, patient, slide in sorted(written))
        raise BcdError(f"{path.name} holds patches of several slides: {slides}.", "Export one slide into one file.")
    hospital, patient, slide = (
        one or other for one, other in zip(named, next(iter(written), (None, None, None)), strict=True)
    )
    if patient is None or slide is None:
        raise BcdError(
            f"{path.name} does not say which slide it is of: no patch that bcd exported is in it.",
            "Name it with --hospital, --patient and --slide.",
        )
    where, who = find_patient(store, patient, hospital)
    found = where, who, SlideId(slide.casefold().removeprefix("idx"))
    if written and found not in written:
        of = "{}/{} slide {}".format(*next(iter(written)))
        raise BcdError(
            f"{path.name} is of {of}, and {where}/{who} slide {found[2]} was named.",
            "Leave out --hospital, --patient and --slide, or import the file of that slide.",
        )
    return found


def _count_beside(polygons: list[Polygon], patches: pd.DataFrame, frame: Frame) -> int:
    """Counts annotated classes that lie beside all patches, as where a picture of another size was annotated."""
    low, high = _find_patch_corners(patches, frame)
    drawn = [np.concatenate(list(one.rings)) for one in polygons if one.kind in {"positive", "negative"}]
    return sum(bool((each.max(0) <= low).any() or (each.min(0) >= high).any()) for each in drawn)


def _find_patch_corners(patches: pd.DataFrame, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the upper left and the lower right corner of the box around patches, in the frame's pixels."""
    corners = frame.corners(patches["x"], patches["y"])
    return corners.min(0), corners.max(0) + frame.step


def _does_not_fit(
    path: Path, why: str, polygons: list[Polygon], patches: pd.DataFrame, frame: Frame | None
) -> BcdError:
    """Says what is annotated and where the slide's patches lie, from which pixels of another size show."""
    drawn = np.concatenate([ring for polygon in polygons for ring in polygon.rings])
    drawn_at, patches_at = (
        " and ".join(f"{name} {low:,.0f} to {high:,.0f}" for name, low, high in zip("xy", *box, strict=True))
        for box in ((drawn.min(0), drawn.max(0)), _find_patch_corners(patches, frame or PATCH_FRAME))
    )
    pixels = "level-0 pixels of the slide" if frame else "patch pixels of 4 µm, since bcd did not cut the slide"
    return BcdError(
        f"{path.name} {why}. It annotates {drawn_at}; the slide's {len(patches):,} patches lie at {patches_at}, in"
        f" {pixels}. Nothing of it was imported.",
        "Annotate the slide in these pixels; a patch needs a positive class over most of it, or any class over all of"
        " it.",
    )
