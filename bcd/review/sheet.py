"""What `bcd review` hands to a person: a folder with a list to look at and to fill in.

    contact-sheet.html  contact-sheet.pdf  patches.csv  slides/HOSPITAL-PATIENT-SLIDE.geojson  reasons.csv

Neither sheet nor the files to be filled in say what the model thinks, or which label stands: whoever reads that first
agrees with it too often. `reasons.csv` says it, for whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bcd.errors import BcdError
from bcd.evaluation.policy.context import CONTEXT
from bcd.files import whole_folder
from bcd.formats import format_count
from bcd.pages import render_page
from bcd.patches import CELL, MICRONS_PER_PIXEL, PATCH_PIXELS, SLIDE, Hospital, PatientId, SlideId, patient_keys
from bcd.review.queue import WHY
from bcd.scoring.geojson import write_patch_features
from bcd.scoring.mosaic import BACKGROUND
from bcd.scoring.result import SPREAD
from bcd.scoring.shown import embed_slide_photograph
from bcd.store.annotations import name_annotated_patch, name_asked_patch
from bcd.store.batches import read_batch_pixels
from bcd.store.frames import find_stored_frame
from bcd.store.label_files import LIST

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bcd.store.store import Store

Kind = Literal["next", "suspicious"]

TITLES: dict[Kind, str] = {"next": "Patches to label next", "suspicious": "Labels to look at again"}

AROUND = 3
"""Patches around the one that is asked about that are shown with it, on complete slides."""

ANSWERS = "patches.csv"
"""The table that is filled in."""

_LINES = ((4, (255, 255, 255)), (2, (0, 128, 60)))
"""The frame, from outside: how many pixels it stands off, and its colour; no stain is green, no dark tissue white."""
_A4 = (8.27, 11.69)  # inches
_COLUMNS, _ROWS = 2, 5
_PRINTED = 210  # pixels of a picture on 42 mm


@dataclass(frozen=True, eq=False)
class ShownPatch:
    """A patch as it is shown.

    Attributes:
        number: Its number in the list, from 1.
        title: Whose it is and where it lies.
        patch: RGB, uint8, (50, 50, 3).
        around: The patch in a frame with the tissue around it, RGB, uint8; None where the slide is not complete.
    """

    number: int
    title: str
    patch: NDArray[np.uint8]
    around: NDArray[np.uint8] | None


def write_review(store: Store, to: Path, kind: Kind, picked: pd.DataFrame, stored: pd.DataFrame) -> None:
    """Writes a list for a person to answer, whole or not at all.

    Args:
        store: The open store.
        to: The folder; it must not be there.
        kind: Which list it is.
        picked: hospital, patient, slide, x, y, and what `reasons.csv` is to say; a row a patch, at least one.
        stored: All patches: hospital, patient, slide, x, y, batch, row, complete.

    Raises:
        BcdError: The folder is there: answers may be in it.
    """
    require_new_folder(to)
    numbered = picked.assign(number=range(1, len(picked) + 1))
    with whole_folder(to) as partial:
        _write_answers(partial / ANSWERS, kind, numbered)
        _write_reasons(partial / "reasons.csv", numbered)
        _write_slides(store, partial / "slides", numbered)
        shown = _show_patches(store, numbered, stored)
        facts = {
            "title": TITLES[kind],
            "subject": _describe_list(numbered),
            "shown": shown,
            "answers": ANSWERS,
            "micrometres": f"{PATCH_PIXELS * MICRONS_PER_PIXEL:g}",
            "embed": embed_slide_photograph,
        }
        page = render_page(__package__, "sheet.html.j2", facts)
        (partial / "contact-sheet.html").write_text(page, encoding="utf-8")
        _print_sheet(partial / "contact-sheet.pdf", f"{TITLES[kind]}: {facts['subject']}", shown)


def require_new_folder(to: Path) -> None:
    """Refuses a folder that is there.

    Raises:
        BcdError: It is.
    """
    if to.exists():
        raise BcdError(f"{to} is there already, and may hold answers.", "Name a new folder with --to.")


def _describe_list(numbered: pd.DataFrame) -> str:
    patients = format_count(int(patient_keys(numbered).nunique()), "patient")
    slides = format_count(len(numbered[SLIDE].drop_duplicates()), "slide")
    return f"{format_count(len(numbered), 'patch', 'es')} of {patients}, on {slides}"


def _write_answers(path: Path, kind: Kind, numbered: pd.DataFrame) -> None:
    table = numbered[["number", *CELL]].assign(label="")
    table.insert(0, LIST, kind)
    table.to_csv(path, index=False)


def _write_reasons(path: Path, numbered: pd.DataFrame) -> None:
    said = ["number", *CELL, "why", "label", "probability", CONTEXT, SPREAD, *WHY, "value", "bundle"]
    numbered[[name for name in said if name in numbered.columns]].to_csv(path, index=False, float_format="%.4f")


def _write_slides(store: Store, folder: Path, numbered: pd.DataFrame) -> None:
    folder.mkdir()
    for (hospital, patient, slide), mine in numbered.groupby(SLIDE, sort=False):
        properties = (
            {"objectType": "annotation", "name": name_asked_patch(number, name_annotated_patch(*cell))}
            for number, *cell in mine[["number", *CELL]].itertuples(index=False)
        )
        frame = find_stored_frame(store, Hospital(str(hospital)), PatientId(str(patient)), SlideId(str(slide)))
        write_patch_features(folder / f"{hospital}-{patient}-{slide}.geojson", mine, properties, frame=frame)


def _show_patches(store: Store, numbered: pd.DataFrame, stored: pd.DataFrame) -> list[ShownPatch]:
    of_slide = {key: stored.loc[rows] for key, rows in stored.groupby(SLIDE, sort=False).groups.items()}
    pixels = read_batch_pixels(store.settings, numbered)
    shown = []
    for patch, (number, *cell) in zip(pixels, numbered[["number", *CELL]].itertuples(index=False), strict=True):
        hospital, patient, slide, x, y = cell
        around = _stitch_around(store, of_slide[hospital, patient, slide], x, y)
        shown.append(ShownPatch(number, f"{hospital}/{patient}, slide {slide}, x {x}, y {y}", patch, around))
    return shown


def _stitch_around(store: Store, slide: pd.DataFrame, x: int, y: int) -> NDArray[np.uint8] | None:
    """Puts the patch in a frame among those around it; None where the slide is not complete."""
    if not slide["complete"].iloc[0]:
        return None
    reach, size = AROUND * PATCH_PIXELS, (2 * AROUND + 1) * PATCH_PIXELS
    mine = slide[slide["x"].between(x - reach, x + reach) & slide["y"].between(y - reach, y + reach)]
    picture = np.empty((size, size, 3), np.uint8)
    picture[...] = BACKGROUND
    for patch, left, top in zip(
        read_batch_pixels(store.settings, mine), mine["x"] - x + reach, mine["y"] - y + reach, strict=True
    ):
        picture[top : top + PATCH_PIXELS, left : left + PATCH_PIXELS] = patch
    inside = slice(reach, reach + PATCH_PIXELS)
    asked = picture[inside, inside].copy()
    for off, colour in _LINES:
        picture[reach - off : reach + PATCH_PIXELS + off, reach - off : reach + PATCH_PIXELS + off] = colour
    picture[inside, inside] = asked
    return picture


def _print_sheet(path: Path, title: str, shown: Sequence[ShownPatch]) -> None:
    """Writes the sheet as PDF, with boxes to tick; the same patches make the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages

    look = mpl.rc_context({"font.family": "DejaVu Sans", "pdf.fonttype": 42})
    with look, PdfPages(path, metadata={"CreationDate": None, "Title": title}) as pages:
        for figure in _draw_pages(title, shown):
            pages.savefig(figure)


def _draw_pages(title: str, shown: Sequence[ShownPatch]) -> Iterator[Figure]:
    from matplotlib.figure import Figure

    on_page = _COLUMNS * _ROWS
    last = -(-len(shown) // on_page)
    for page in range(last):
        figure = Figure(figsize=_A4)
        figure.text(0.06, 0.965, title, fontsize=11, weight="bold", parse_math=False)
        figure.text(0.06, 0.025, "bcd, research use only. Not for diagnosis.", fontsize=7)
        figure.text(0.94, 0.025, f"{page + 1} of {last}", fontsize=7, ha="right")
        for place, one in enumerate(shown[page * on_page : (page + 1) * on_page]):
            left, bottom = 0.06 + 0.46 * (place % _COLUMNS), 0.805 - 0.178 * (place // _COLUMNS)
            pictures = [one.patch] if one.around is None else [one.around, one.patch]
            for at, picture in enumerate(pictures):
                axes = figure.add_axes((left + 0.21 * at, bottom, 0.2, 0.2 * _A4[0] / _A4[1]))
                axes.imshow(_fit_print(picture), interpolation="none")
                axes.axis("off")
            figure.text(left, bottom - 0.012, f"{one.number}", fontsize=9, weight="bold")
            figure.text(left + 0.035, bottom - 0.012, one.title, fontsize=7, parse_math=False)
            figure.text(left + 0.035, bottom - 0.026, "☐ IDC    ☐ no IDC    ☐ unsure", fontsize=8)
        yield figure


def _fit_print(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a picture in the pixels in which it is printed: whole ones in a PDF are several times its size."""
    import cv2

    shrinks = len(picture) > _PRINTED
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (_PRINTED, _PRINTED), interpolation=how), np.uint8)
