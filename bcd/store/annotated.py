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

from bcd.errors import BcdError
from bcd.patches import PATCH_PIXELS, Hospital, PatientId
from bcd.settings import Settings
from bcd.store.annotations import Annotations, read_annotations
from bcd.store.areas import Inside, Polygon, covered
from bcd.store.catalog import Catalog
from bcd.store.frames import PATCH_FRAME, Frame, find_frame
from bcd.store.options import LabelOptions
from bcd.store.patients import find_patient, name_patients, patient_patches
from bcd.store.revisions import LabelImport, require_signature, revise_labels

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


def import_annotations(
    settings: Settings,
    catalog: Catalog,
    path: Path,
    options: LabelOptions,
    *,
    hospital: str | None,
    patient: str | None,
    slide: str | None,
    author: str,
    reason: str,
) -> AnnotationImport:
    """Labels patches of one slide by a file of annotations (`bcd.store.annotations`).

    Args:
        settings: Where the key of pseudonyms lies.
        catalog: The open catalog.
        path: GeoJSON, in level-0 pixels of the slide, or in patch pixels where bcd did not cut it.
        options: From which covered share on a patch is labelled.
        hospital: The slide's hospital; None: as bcd wrote it into the file, or the only one that has the patient.
        patient: The patient; None: as bcd wrote it into the file.
        slide: The slide; likewise.
        author: Who says so.
        reason: Why, in a sentence.

    Raises:
        BcdError: The file cannot be read or is not understood, does not say which slide it is of or is of another
            one, the patient is unknown or withdrawn, or no patch gets a label by it.
    """
    require_signature(author, reason)
    annotations = read_annotations(path)
    where, who, which = _find_slide(settings, catalog, path, annotations.slides, (hospital, patient, slide))
    patches = patient_patches(settings, catalog, where, who)
    of_slide = patches[patches["slide"] == which].reset_index(drop=True)
    if of_slide.empty:
        known = ", ".join(sorted(set(patches["slide"])))
        raise BcdError(
            f"Patient {where}/{who} has no slide {which}.", f"Name one of the slides {known} with --slide."
        )
    frame = find_frame(catalog, where, who, which)
    decided = decide_labels(annotations.polygons, of_slide, frame or PATCH_FRAME, options)
    said = decided.isin(["positive", "negative", "mixed"])
    counts = {
        name: int((decided == name).sum()) for name in ("positive", "negative", "mixed", "contradicted", "silent")
    }
    if not said.any():
        raise _decides_nothing(path, annotations, of_slide, frame, counts["contradicted"])
    label = decided.map({"positive": 1, "negative": 0}).astype("Int8")
    rows = of_slide.assign(label=label, line=1, identifier=who)[said]

    def call(name: str, identifiers: Collection[str]) -> Mapping[str, str] | None:
        return name_patients(settings, catalog, Hospital(name), identifiers)

    labels = revise_labels(catalog, path.name, rows, call, author=author, reason=reason)
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
        covered(on_grid, columns, rows, wanted).round(2) for wanted in (is_positive, is_looked_at, is_both)
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
    settings: Settings,
    catalog: Catalog,
    path: Path,
    written: frozenset[tuple[str, str, str]],
    named: tuple[str | None, str | None, str | None],
) -> tuple[Hospital, PatientId, str]:
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
    where, who = find_patient(settings, catalog, patient, hospital)
    found = where, who, slide.casefold().removeprefix("idx")
    if written and found not in written:
        of = "{}/{} slide {}".format(*next(iter(written)))
        raise BcdError(
            f"{path.name} is of {of}, and {where}/{who} slide {found[2]} was named.",
            "Leave out --hospital, --patient and --slide, or import the file of that slide.",
        )
    return found


def _decides_nothing(
    path: Path, annotations: Annotations, patches: pd.DataFrame, frame: Frame | None, contradicted: int
) -> BcdError:
    """Says why no patch gets a label: the areas lie elsewhere, as in other pixels, or cover none enough."""
    drawn = np.concatenate([ring for polygon in annotations.polygons for ring in polygon.rings])
    lies = (frame or PATCH_FRAME).corners(patches["x"], patches["y"])
    # All that can be exported is in one kind of pixels, so that a picture of another size shows at once.
    places = " and ".join(
        f"{name} {low:,.0f} to {high:,.0f}"
        for name, low, high in zip("xy", lies.min(0), (lies + (frame or PATCH_FRAME).step).max(0), strict=True)
    )
    spans = " and ".join(
        f"{name} {low:,.0f} to {high:,.0f}" for name, low, high in zip("xy", drawn.min(0), drawn.max(0), strict=True)
    )
    pixels = "pixels of the slide" if frame else "patch pixels (4 µm), since the hospital delivered patches"
    both = f" {contradicted:,} patches lie under a positive and a negative class at once." if contradicted else ""
    return BcdError(
        f"{path.name} gives no patch of the slide a label.{both} It annotates {spans}; the slide's {len(patches):,}"
        f" patches lie at {places}, in {pixels}.",
        "A patch needs a positive class over most of it, or any class over all of it (docs/how-to/qupath.md).",
    )
