"""The scores of a slide as GeoJSON, as QuPath reads it: a detection a patch, with its class and its measurements.

Coordinates are level-0 pixels of the delivered slide, as QuPath counts them, where bcd cut the slide itself;
otherwise patch pixels of 4 µm, from 0 on at the corner of the grid. The file says which, beside its features.

Classes begin with `Predicted`, so that nobody takes what the model says for a label (`bcd labels import` does not).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.policy.context import CONTEXT
from bcd.options import Probability
from bcd.patches import CELL
from bcd.scoring.heatmap import colour_probabilities
from bcd.store.annotations import name_annotated_patch
from bcd.store.frames import PATCH_FRAME, Frame

if TYPE_CHECKING:
    import pandas as pd

    from bcd.evaluation.policy.policy import Policy

PREDICTED = ("Predicted no IDC", "Predicted IDC", "Not confident")
"""The classes of patches."""

IN_CONTEXT = "Probability of IDC with its neighbours"

_GREY = [160, 160, 160]


def write_geojson(
    path: Path, scores: pd.DataFrame, *, frame: Frame | None, bundle: str, level: Probability, policy: Policy
) -> None:
    """Writes what the stored scores of one slide say; the same scores make the same bytes.

    Args:
        path: The file.
        scores: Columns hospital, patient, slide, x, y, probability, context_probability; patches of one slide, one
            at least.
        frame: Where patches lie in the slide; None where bcd did not cut it.
        bundle: Name of what scored.
        level: Confidence from which on a patch has the class of its prediction.
        policy: Says which thresholds are certified.
    """
    first = scores.iloc[0]
    pixels = "level-0 pixels of the slide" if frame else "patch pixels from the grid's corner"
    head = {
        "hospital": first["hospital"],
        "patient": first["patient"],
        "slide": first["slide"],
        "bundle": bundle,
        "coordinates": pixels,
        "microns_per_pixel": [*(frame or PATCH_FRAME)[:2]],
        "use": "Research use only.",
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"type":"FeatureCollection","bcd":{_write_compact_json(head)},"features":[\n')
        file.write(
            ",\n".join(
                _write_compact_json(each)
                for each in _make_geojson_features(scores, frame or PATCH_FRAME, level, policy)
            )
        )
        file.write("\n]}\n")


def _write_compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _make_geojson_features(
    scores: pd.DataFrame, frame: Frame, level: Probability, policy: Policy
) -> Iterator[dict[str, Any]]:
    from bcd.evaluation.calls import is_confident, is_idc

    probability = scores["probability"].to_numpy(np.float64)
    called, confident = is_idc(probability), is_confident(probability, level)
    certified = {
        f"Certified call, error up to {100 * each.target_error:g} %": is_confident(probability, each.threshold)
        for each in policy.certified
        if each.threshold is not None
    }
    kinds = np.where(confident, called.astype(int), 2).tolist()
    shown = zip(PREDICTED, [*colour_probabilities(np.array([0.0, 1.0])).tolist(), _GREY], strict=True)
    classes = [{"name": name, "color": colour} for name, colour in shown]
    corners = frame.corners(scores["x"], scores["y"])
    outlines = np.stack([corners, corners + frame.step], axis=1).round(2).tolist()
    cells = (scores[name].tolist() for name in CELL)
    context = scores[CONTEXT].to_numpy(np.float64)
    for row, (cell, outline) in enumerate(zip(zip(*cells, strict=True), outlines, strict=True)):
        (left, top), (right, bottom) = ([_write_plain_number(each) for each in corner] for corner in outline)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        measurements = {
            "Probability of IDC": round(float(probability[row]), 6),
            **({} if np.isnan(context[row]) else {IN_CONTEXT: round(float(context[row]), 6)}),
            f"Confident at {100 * level:g} %": int(confident[row]),
            # A patch that is not decided has no such measurement, which QuPath shows as one that is missing.
            **{name: int(called[row]) for name, decided in certified.items() if decided[row]},
        }
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "objectType": "detection",
                "name": name_annotated_patch(*cell),
                "classification": classes[kinds[row]],
                "measurements": measurements,
            },
        }


def _write_plain_number(value: float) -> float:
    return int(value) if value.is_integer() else value
