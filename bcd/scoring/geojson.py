"""The scores of a slide as GeoJSON, as QuPath reads it: a detection a patch, with its class and its measurements.

Coordinates are level-0 pixels of the delivered slide, as QuPath counts them, where bcd cut the slide itself;
otherwise patch pixels of 4 µm, from 0 on at the corner of the grid. The file says which, beside its features.

Classes begin with `Predicted`, so that nobody takes what the model says for a label (`bcd label import` does not).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.policy.context import CONTEXT
from bcd.options import Probability
from bcd.patches import CELL, SLIDE
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
    properties = _describe_scored_patches(scores, level, policy)
    write_patch_features(path, scores, properties, frame=frame, bundle=bundle)


def write_patch_features(
    path: Path, patches: pd.DataFrame, properties: Iterable[dict[str, Any]], *, frame: Frame | None, **head: str
) -> None:
    """Writes patches of one slide as QuPath's objects.

    Args:
        path: The file.
        patches: Columns hospital, patient, slide, x, y; one row at least.
        properties: What is said of each, in their order.
        frame: Where patches lie in the slide; None where bcd did not cut it.
        **head: What else is said of the file.
    """
    first, used = patches.iloc[0], frame or PATCH_FRAME
    told = {
        **{name: first[name] for name in SLIDE},
        **head,
        "coordinates": "level-0 pixels of the slide" if frame else "patch pixels from the grid's corner",
        "microns_per_pixel": [*used[:2]],
        "use": "Research use only.",
    }
    features = (
        {"type": "Feature", "geometry": geometry, "properties": said}
        for geometry, said in zip(_outline_patches(patches, used), properties, strict=True)
    )
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"type":"FeatureCollection","bcd":{_write_compact_json(told)},"features":[\n')
        file.write(",\n".join(_write_compact_json(each) for each in features))
        file.write("\n]}\n")


def _outline_patches(patches: pd.DataFrame, frame: Frame) -> Iterator[dict[str, Any]]:
    corners = frame.corners(patches["x"], patches["y"])
    for outline in np.stack([corners, corners + frame.step], axis=1).round(2).tolist():
        (left, top), (right, bottom) = ([_write_plain_number(each) for each in corner] for corner in outline)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        yield {"type": "Polygon", "coordinates": [ring]}


def _write_compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _describe_scored_patches(scores: pd.DataFrame, level: Probability, policy: Policy) -> Iterator[dict[str, Any]]:
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
    cells = (scores[name].tolist() for name in CELL)
    context = scores[CONTEXT].to_numpy(np.float64)
    for row, cell in enumerate(zip(*cells, strict=True)):
        measurements = {
            "Probability of IDC": round(float(probability[row]), 6),
            **({} if np.isnan(context[row]) else {IN_CONTEXT: round(float(context[row]), 6)}),
            f"Confident at {100 * level:g} %": int(confident[row]),
            # A patch that is not decided has no such measurement, which QuPath shows as one that is missing.
            **{name: int(called[row]) for name, decided in certified.items() if decided[row]},
        }
        yield {
            "objectType": "detection",
            "name": name_annotated_patch(*cell),
            "classification": classes[kinds[row]],
            "measurements": measurements,
        }


def _write_plain_number(value: float) -> float:
    return int(value) if value.is_integer() else value
