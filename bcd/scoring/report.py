"""The patient's report: one HTML file that needs no network, is worked with where scripts run, and prints on A4.

Every figure in it is computed from the stored scores, which the file holds for its script, too. Without scripts it
shows the same pictures and figures at the level of the options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.calls import is_idc
from bcd.evaluation.outcome import UNDECIDED
from bcd.evaluation.policy.certified import threshold_sequence
from bcd.evaluation.policy.context import CONTEXT
from bcd.options import Probability
from bcd.pages import render_page
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS
from bcd.scoring.heatmap import LABELLED, TINT, VEIL, colour_probabilities, overlay
from bcd.scoring.intervals import (
    HELD_BELOW,
    LEAST_ACROSS,
    LEAST_DRAWS,
    WIDE_ACROSS,
    PlacedPatches,
    estimate_level_intervals,
    list_outcomes_within,
)
from bcd.scoring.shown import ShownSlide, embed_heatmap_layer
from bcd.scoring.summary import MIN_PATCHES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.evaluation.policy.certified import CertifiedThreshold
    from bcd.scoring.examples import Examples
    from bcd.scoring.intervals import Ends, LevelIntervals
    from bcd.scoring.options import ScoreOptions

PATCH_AREA = (PATCH_PIXELS * MICRONS_PER_PIXEL / 1000) ** 2
"""Area of a patch in mm²."""

_LIMIT = 2_900_000  # bytes of a report
_REST = 250_000  # page, script, examples, the line around labels
_SCORE = 29  # bytes of a patch's score in the page: 24 in base64 where it has a context
_LEAST = 200_000  # bytes of a slide's picture, however many patches or slides there are
_LEVELS = (*(percent / 100 for percent in range(50, 99)), 0.99, 0.995, 0.999, 0.9995, 0.9999)


def slide_picture_budget(patches: int, of_patient: int) -> int:
    """Returns how many bytes the picture of a slide of `patches` patches may have in the patient's report."""
    return max(int((_LIMIT - _REST - _SCORE * of_patient) * 3 / 4 * patches / of_patient), _LEAST)


def write_patient_report(
    path: Path,
    *,
    scores: pd.DataFrame,
    slides: Sequence[ShownSlide],
    examples: Examples,
    facts: Mapping[str, Any],
) -> None:
    """Writes the report.

    Args:
        path: The HTML file.
        scores: Columns slide, x, y, label (NA = unlabelled), probability, context_probability; of all patches.
        slides: The patient's slides.
        examples: The patches that are shown by themselves.
        facts: What `report.html.j2` shows: hospital, patient, bundle, record, exposure, summary, options, and more.
    """
    options, summary, policy = facts["options"], facts["summary"], facts["record"].policy
    rule = options.outcome
    context = policy.context if any(slide.data["context"] for slide in slides) else None
    promises = [policy.certified, context.certified if context else ()]
    thresholds = (each.threshold for certified in promises for each in certified)
    levels = sorted({*_LEVELS, *(row.level for row in summary.levels), *(each for each in thresholds if each)})
    alone = PlacedPatches.of(scores, scores["probability"].to_numpy(np.float64))
    label = scores["label"].fillna(-1).to_numpy(np.int8)
    found = estimate_level_intervals(alone, label, levels)
    unlike = facts["drift"].colour != "plain"
    told = [_tell_levels(found, levels, policy.certified, unlike=unlike)]
    if context:
        joined = PlacedPatches.of(scores, scores[CONTEXT].fillna(scores["probability"]).to_numpy(np.float64))
        found_joined = estimate_level_intervals(joined, label, levels)
        told.append(_tell_levels(found_joined, levels, context.certified, unlike=unlike))
    at = levels.index(rule.level)
    shown = {
        "slides": slides,
        "examples": examples,
        "levels": levels,
        "at": next(row for row in summary.levels if row.level == rule.level),
        "told": told[0][at],
        "draws": alone.draws,
        "least_draws": LEAST_DRAWS,
        "fewest": MIN_PATCHES,
        "across": alone.across,
        "least_across": LEAST_ACROSS,
        "wide_across": WIDE_ACROSS,
        "held": HELD_BELOW,
        "spans": _tell_fractions(alone, label),
        "outcomes": list_outcomes_within(found[at], len(scores), rule),
        "undecided": summary.outcome == UNDECIDED,
        "context": context,
        "legend": _draw_heatmap_legend(options),
        "data": {
            "levels": [[level, f"{100 * level:g}"] for level in levels],
            "told": told,
            "alpha": [round(255 * options.opacity * share) for share in (1.0, VEIL, TINT)],
            "colours": colour_probabilities(np.linspace(0, 1, 256)).tobytes().hex(),
            "slides": [slide.data for slide in slides],
        },
    }
    filters: dict[str, Callable[..., str]] = {
        "percent": _format_report_percent,
        "count": _format_report_count,
        "area": _format_area,
        "micrometres": _format_scale_bar,
        "sentence": _format_sentence,
    }
    path.write_text(render_page("bcd.scoring", "report.html.j2", {**shown, **facts}, filters), encoding="utf-8")


def _tell_levels(
    found: Sequence[LevelIntervals],
    levels: Sequence[Probability],
    certified: Sequence[CertifiedThreshold],
    *,
    unlike: bool,
) -> list[dict[str, str]]:
    """What the report says at each level beside the counts: intervals, and what certified thresholds promise."""
    return [
        {
            "coverage": _format_ends(at.coverage),
            "idc": _format_ends(at.idc),
            "none": _format_ends(at.none),
            "open": _format_ends(at.coverage and (1 - at.coverage[1], 1 - at.coverage[0])),
            "agreement": _format_ends(at.agreement),
            "promise": re.sub(r"(?<=≥) | (?=%)", "\u00a0", _tell_promise(certified, level, unlike=unlike)),
        }
        for level, at in zip(levels, found, strict=True)
    ]


def _tell_fractions(placed: PlacedPatches, label: NDArray[np.int8]) -> dict[str, str]:
    """The intervals of what does not hang on the level."""
    called, known = is_idc(placed.probability), label >= 0
    return {
        "tumour_fraction": _format_ends(placed.interval(placed.probability)),
        "idc_share": _format_ends(placed.interval(called)),
        "called_share": _format_ends(placed.interval(called, known)),
        "true_fraction": _format_ends(placed.interval(label == 1, known)),
    }


def _tell_promise(certified: Sequence[CertifiedThreshold], level: Probability, *, unlike: bool) -> str:
    """What certified thresholds promise at a level: the smallest error, or which thresholds there are.

    Args:
        certified: The thresholds.
        level: Confidence.
        unlike: Whether the patient may be unlike those of the promise.
    """
    if not certified:
        return "No threshold was certified for this model."
    holding = [
        each
        for each in certified
        if each.threshold is not None and each.threshold <= level <= threshold_sequence(each.target_error)[0]
    ]
    if holding:
        best = min(holding, key=lambda each: each.target_error)
        return (
            f"Certified at this level: at most {100 * best.target_error:g} % of a patient's confident patches "
            f"are wrong, as a mean over patients like the {best.n_patients} of validation "
            f"({100 * best.confidence:g} % sure).{' By its drift this patient may be unlike them.' if unlike else ''}"
        )
    listed = "; ".join(f"error up to {100 * each.target_error:g} %: {each.verdict}" for each in certified)
    return f"Nothing is certified at this level: {listed}."


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
        text = ">\u00a099.9"
    elif text == "0.0" and share > 0:
        text = "<\u00a00.1"
    return f"{text}\u00a0%"


def _format_ends(ends: Ends | None) -> str:
    """An interval of a share in percent."""
    if ends is None:
        return "n/a"
    low, high = (_format_report_percent(end).removesuffix("\u00a0%") for end in ends)
    return f"{low} to {high}\u00a0%"


def _format_report_count(number: int) -> str:
    """A count whose thousands are parted by a thin space: a comma or a point is a decimal sign somewhere."""
    return f"{number:,}".replace(",", "\u202f")


def _format_area(patches: int) -> str:
    return f"{patches * PATCH_AREA:.2f}\u00a0mm²"


def _format_sentence(said: str) -> str:
    """A sentence of another module, its thousands parted as those of the report."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "\u202f", said)


def _format_scale_bar(length: int) -> str:
    return f"{length / 1000:g} mm" if length >= 1000 else f"{length} µm"
