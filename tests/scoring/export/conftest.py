from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from bcd.drift.state import Drift
from bcd.patches import Hospital, PatientId, SlideId
from bcd.scoring.export.scored import ScoredPatient
from bcd.scoring.options import ScoreOptions
from bcd.store.frames import Frame

CELLS = [(0, 0), (1, 0), (7, 7), (8, 7), (9, 3), (0, 17), (11, 16)]
"""Cells of a slide of two by three tiles, of which two are empty."""
PROBABILITIES = [0.001, 0.5, 0.96, 0.999, 0.04, 0.2, 0.97]


def as_scored(patches: pd.DataFrame, pixels: np.ndarray, frames: Mapping[str, Frame] | None = None) -> ScoredPatient:
    """A patient of these patches, scored, whose pixels lie in an array."""
    probability = np.resize(PROBABILITIES, len(patches))
    return ScoredPatient(
        hospital=Hospital(patches["hospital"].iloc[0]),
        patient=PatientId(patches["patient"].iloc[0]),
        bundle="bcd-idc/7",
        content="0" * 64,
        at=datetime(2026, 11, 23, 4, tzinfo=UTC),
        scores=patches.assign(probability=probability, context_probability=np.nan, row=np.arange(len(patches))),
        slides=tuple(dict.fromkeys(map(SlideId, patches["slide"]))),
        read=lambda rows: pixels[rows["row"].to_numpy()],
        frames={SlideId(slide): frame for slide, frame in (frames or {}).items()},
        options=ScoreOptions(),
        drift=Drift(level="fine", foreign=True),
    )


@pytest.fixture(name="as_scored")
def _as_scored():
    return as_scored


@pytest.fixture
def scored(make_patches) -> Callable[..., ScoredPatient]:
    """Makes a scored patient of these slides, who was delivered as patches."""

    def make(slides: Sequence[str] = ("5",)) -> ScoredPatient:
        labels = [None] * (len(CELLS) - 1) + [1]
        made = [make_patches(CELLS, slide=slide, seed=seed, labels=labels) for seed, slide in enumerate(slides)]
        patches, pixels = zip(*made, strict=True)
        return as_scored(pd.concat(patches, ignore_index=True), np.concatenate(pixels))

    return make
