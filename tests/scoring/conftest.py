from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patients import store_patches
from stored import new_store

from bcd.bundle.distance import Distance
from bcd.drift.state import Drift, Known
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.context import CONTEXT
from bcd.evaluation.policy.policy import Policy
from bcd.scoring.examples import show_examples
from bcd.scoring.exposure import Exposure
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import slide_picture_budget, write_patient_report
from bcd.scoring.shown import show_slide
from bcd.scoring.summary import summarise_patient_scores
from bcd.settings import Settings
from bcd.store.store import Store

LEVELS = (0.8, 0.95, 0.99)


@dataclass
class RednessBundle:
    """Stands in for a bundle without a network: the redder a patch, the likelier IDC."""

    name: str = "bcd-idc/7"
    snapshot: str = "0" * 64
    calls: int = 0
    seen: Any = None
    known: Known | None = None
    policy: Policy = field(
        default_factory=lambda: Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=LEVELS)
    )
    record: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        self.record = SimpleNamespace(
            snapshot=self.snapshot,
            protocol="dealt",
            origin="retraining",
            created_at=pd.Timestamp("2026-11-23T04:00", tz="UTC"),
            policy=self.policy,
        )

    def measure(self, pixels: np.ndarray) -> Distance:
        return Distance(detail=0.1)

    def score(self, pixels: np.ndarray, *, spread: bool = False) -> pd.DataFrame:
        self.calls += 1
        probability = redness(pixels)
        scores = pd.DataFrame({"logit": np.log(probability / (1 - probability)), "probability": probability})
        scores["label"] = (probability >= 0.5).astype(np.int32)
        scores["confident_95"] = np.maximum(probability, 1 - probability) >= 0.95
        return scores.assign(spread=np.abs(probability - 0.5)) if spread else scores


def redness(pixels: np.ndarray) -> np.ndarray:
    red, blue = pixels[..., 0].mean(axis=(1, 2)), pixels[..., 2].mean(axis=(1, 2))
    return np.clip((255 + red - blue) / 510, 0.001, 0.999)


class FilledStore(Store):
    """A real store, filled without a delivery."""

    def admit(self, patches: pd.DataFrame, pixels: np.ndarray, hospital: str = "east") -> str:
        return store_patches(self, patches.assign(hospital=hospital).astype({"label": "Int8"}), pixels)


@pytest.fixture
def store(tmp_path) -> FilledStore:
    opened = new_store(Settings(home=tmp_path / "home"))
    return FilledStore(opened.settings, opened.engine)


@pytest.fixture
def bundle() -> RednessBundle:
    return RednessBundle()


def make_patches(cells, *, patient="1001", slide="5", labels=None, seed=0) -> tuple[pd.DataFrame, np.ndarray]:
    """Patches with pixels all different, at grid cells (column, row) counted from 0."""
    cells = list(cells)
    patches = pd.DataFrame(
        {
            "hospital": "east",
            "patient": patient,
            "slide": slide,
            "x": [column * 50 + 1 for column, _ in cells],
            "y": [row * 50 + 1 for _, row in cells],
            "label": pd.array(labels if labels is not None else [0] * len(cells), dtype="Int8"),
        }
    )
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 200, (len(cells), 1, 1, 3))
    return patches, (base + rng.integers(0, 56, (len(cells), 50, 50, 3))).astype(np.uint8)


@pytest.fixture(name="make_patches")
def _make_patches():
    return make_patches


@pytest.fixture(name="redness")
def _redness():
    return redness


@pytest.fixture
def make_report(tmp_path: Path) -> Callable[..., str]:
    """Writes the report of scored patches, as scoring does, and returns its HTML; facts may be changed."""

    def make(
        scores: pd.DataFrame,
        pixels: np.ndarray,
        *,
        options: ScoreOptions | None = None,
        complete: bool = False,
        **changed,
    ) -> str:
        options = options or ScoreOptions()
        pictures = options.pictures != "none"
        if CONTEXT not in scores.columns:
            scores = scores.assign(**{CONTEXT: np.nan})
        slides = [
            show_slide(
                stitch(of_slide, pixels[of_slide.index]),
                of_slide,
                options,
                complete=complete,
                budget=slide_picture_budget(len(of_slide), len(scores)),
            )
            for _, of_slide in scores.groupby("slide", sort=False)
        ]
        level = options.outcome.level
        examples = show_examples(scores, level, (lambda picked: pixels[picked.index]) if pictures else None)
        policy = Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.8, 0.99))
        facts = {
            "hospital": "east",
            "patient": "1001",
            "bundle": "bcd-idc/7",
            "record": SimpleNamespace(
                snapshot="abc123", created_at=datetime(2026, 11, 20, tzinfo=UTC), policy=policy
            ),
            "exposure": Exposure("test", True, "Never seen in training, and nothing was chosen on this patient."),
            "protocol": "dealt",
            "warnings": [],
            "drift": Drift(level="fine", foreign=False, patients=1, known=230, p=0.4),
            "summary": summarise_patient_scores(scores, options, (0.8, 0.99)),
            "options": options,
            "content": "f" * 64,
            "scored_at": datetime(2026, 11, 23, 4, tzinfo=UTC),
        }
        path = tmp_path / "report.html"
        write_patient_report(path, scores=scores, slides=slides, examples=examples, facts=facts | changed)
        return path.read_text(encoding="utf-8")

    return make
