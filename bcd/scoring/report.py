"""The patient's report: one HTML file that needs no network, is worked with where scripts run, and prints on A4.

Every figure in it is computed from the stored scores, which the file holds for its script, too. Without scripts it
shows the same pictures and figures at the level of the options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.calls import confidence
from bcd.evaluation.outcome import UNDECIDED
from bcd.options import Probability
from bcd.pages import render_page
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS
from bcd.scoring.heatmap import LABELLED, TINT, VEIL, colour_probabilities, overlay
from bcd.scoring.shown import ShownSlide, embed_heatmap_layer, embed_slide_photograph

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.scoring.options import ScoreOptions

PATCH_AREA = (PATCH_PIXELS * MICRONS_PER_PIXEL / 1000) ** 2
"""Area of a patch in mm²."""

EXAMPLES = 10
"""Patches that are shown as the most suspicious ones, and as the most uncertain ones."""

_LIMIT = 2_900_000  # bytes of a report
_REST = 220_000  # page, script, examples, the line around labels
_SCORE = 29  # bytes of a patch's score in the page: 24 in base64 where it has a context
_LEAST = 200_000  # bytes of a slide's picture, however many patches or slides there are
_LEVELS = (*(percent / 100 for percent in range(50, 99)), 0.99, 0.995, 0.999, 0.9995, 0.9999)


@dataclass(frozen=True)
class Example:
    """One patch that is shown by itself.

    Attributes:
        slide: Its slide.
        x: Column of its upper left pixel, from 1.
        y: Row of its upper left pixel, from 1.
        probability: Calibrated probability of IDC.
        picture: The patch as an address that shows it.
    """

    slide: str
    x: int
    y: int
    probability: Probability
    picture: str


def slide_picture_budget(patches: int, of_patient: int) -> int:
    """Returns how many bytes the picture of a slide of `patches` patches may have in the patient's report."""
    return max(int((_LIMIT - _REST - _SCORE * of_patient) * 3 / 4 * patches / of_patient), _LEAST)


def pick_suspicious_patches(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Picks the most suspicious patches, the likeliest IDC first, and the most uncertain ones, likewise.

    Args:
        scores: Columns slide, x, y, probability; all patches of a patient.
    """
    probability = scores["probability"].to_numpy(np.float64)
    suspicious = np.argsort(-probability, kind="stable")[:EXAMPLES]
    uncertain = np.argsort(confidence(probability), kind="stable")[:EXAMPLES]
    return scores.iloc[suspicious], scores.iloc[uncertain]


def show_examples(picked: pd.DataFrame, pixels: NDArray[np.uint8]) -> list[Example]:
    """Makes picked patches ready for the report; `pixels` are theirs, (n, 50, 50, 3)."""
    columns = (picked[name].tolist() for name in ("slide", "x", "y", "probability"))
    pictures = [embed_slide_photograph(image) for image in pixels]
    return [Example(*shown) for shown in zip(*columns, pictures, strict=True)]


def write_patient_report(
    path: Path,
    *,
    slides: Sequence[ShownSlide],
    suspicious: Sequence[Example],
    uncertain: Sequence[Example],
    facts: Mapping[str, Any],
) -> None:
    """Writes the report.

    Args:
        path: The HTML file.
        slides: The patient's slides.
        suspicious: The most suspicious patches.
        uncertain: The most uncertain patches.
        facts: What `report.html.j2` shows: hospital, patient, bundle, record, exposure, summary, options, and more.
    """
    options, summary = facts["options"], facts["summary"]
    rule = options.outcome
    levels = sorted({*_LEVELS, *(row.level for row in summary.levels)})
    shown = {
        "slides": slides,
        "suspicious": suspicious,
        "uncertain": uncertain,
        "levels": levels,
        "at": next(row for row in summary.levels if row.level == rule.level),
        "undecided": summary.outcome == UNDECIDED,
        "context": facts["record"].policy.context if any(slide.data["context"] for slide in slides) else None,
        "legend": _draw_heatmap_legend(options),
        "data": {
            "levels": [[level, f"{100 * level:g}"] for level in levels],
            "alpha": [round(255 * options.opacity * share) for share in (1.0, VEIL, TINT)],
            "colours": colour_probabilities(np.linspace(0, 1, 256)).tobytes().hex(),
            "slides": [slide.data for slide in slides],
        },
    }
    filters = {
        "percent": _format_report_percent,
        "count": _format_report_count,
        "area": _format_area,
        "micrometres": _format_scale_bar,
    }
    path.write_text(render_page("bcd.scoring", "report.html.j2", {**shown, **facts}, filters), encoding="utf-8")


def _draw_heatmap_legend(options: ScoreOptions) -> dict[str, str]:
    """The colour bar as a layer, and the colours of its keys."""
    low, high = 1 - options.outcome.level, options.outcome.level
    shown = overlay(np.array([1.0, 0.0, low + 0.001, 0.5, high - 0.001]), options).tolist()
    idc, tint, *veil = (f"rgb({r} {g} {b} / {a / 255:.3f})" for r, g, b, a in shown)
    strip = overlay((np.arange(1000) + 0.5) / 1000, options)[None]
    return {
        "strip": embed_heatmap_layer(strip),
        "idc": idc,
        "tint": tint,
        "veil": ", ".join(veil),
        "labelled": LABELLED,
    }


def _format_report_percent(share: float | None) -> str:
    """A share in percent, with the same rounding as the report's script."""
    if share is None:
        return "n/a"
    text = str(Decimal(100 * share).quantize(Decimal("0.1"), ROUND_HALF_UP))
    # A share that is not quite all or nothing is not rounded to it.
    if text == "100.0" and share < 1:
        text = "> 99.9"
    elif text == "0.0" and share > 0:
        text = "< 0.1"
    return f"{text} %"


def _format_report_count(number: int) -> str:
    """A count whose thousands are parted by a thin space: a comma or a point is a decimal sign somewhere."""
    return f"{number:,}".replace(",", "\u202f")


def _format_area(patches: int) -> str:
    return f"{patches * PATCH_AREA:.2f} mm²"


def _format_scale_bar(length: int) -> str:
    return f"{length / 1000:g} mm" if length >= 1000 else f"{length} µm"
