"""A made-up released model: one of the tiny networks, with figures and a record of whom it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from registered import make_record
from scored import draw_scores

from bcd.bundle.engine import describe_engine
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.reference import describe_training, measure_reference_scores
from bcd.bundle.released.figures import FILE, Figures, Shift, TrainingSource, Yardstick
from bcd.bundle.seen import Seen
from bcd.bundle.write import write_bundle
from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.options import EvaluateOptions

TISSUE = draw_tissue_probes(40)
"""What the made-up model learned from: patients p0 to p19 of hospital public, two patches of each."""


@pytest.fixture(scope="session")
def made_released(
    tmp_path_factory: pytest.TempPathFactory, networks: dict[str, Path], make_graph: Callable[..., Path]
) -> Path:
    """A folder as `bcd.bundle.released` is, made once."""
    folder = tmp_path_factory.mktemp("released")
    patients = np.repeat([f"p{number}" for number in range(20)], 2)
    light = np.repeat(np.random.default_rng(1).integers(-12, 13, 20), 2)[:, None, None, None]
    learned = np.clip(TISSUE.astype(int) + light, 0, 255).astype(np.uint8)
    hashes = [hashlib.sha256(patch).hexdigest() for patch in TISSUE]
    reference = describe_training(
        lambda rows: learned[rows],
        [f"public/{one}" for one in patients],
        measure_reference_scores(np.zeros(2), np.full(2, 0.5), ["a", "b"]),
    )
    graph = make_graph("red")
    record = make_record(
        protocol="all-train", origin="released", engine=describe_engine(graph), reference=reference, metrics={}
    )
    seen = Seen.of(pd.DataFrame({"hospital": "public", "patient": patients, "pixel_sha256": hashes}))
    write_bundle(folder / "bundle", networks=[networks["red"]], graph=graph, record=record, seen=seen)
    (folder / "worst.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / FILE).write_text(make_figures().model_dump_json())
    return folder


@pytest.fixture
def released(made_released: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a released model, in the place of the one that comes with bcd."""
    monkeypatch.setattr("bcd.bundle.released.released_folder", lambda: made_released)
    return made_released


def make_figures() -> Figures:
    scores = draw_scores([60] * 12, seed=5)
    natural = evaluate_scores(scores, EvaluateOptions(resamples=100), snapshot="a" * 64, split="out of fold")
    return Figures(
        data=TrainingSource(
            name="made-up set",
            licence="CC0",
            citation="Nobody 2026.",
            hospital="public",
            patients=20,
            patches=40,
            positive=20,
            digests={"batch-1.zip": "d" * 64},
        ),
        recipe=["Twenty-four epochs."],
        folds=3,
        recipes_tried=2,
        natural=natural,
        everything=natural,
        yardsticks=[
            Yardstick(title="unlisted", patients=12, patches=720, figures={"AUROC": natural.pooled["auroc"]})
        ],
        robustness=[Shift(name="blur", auroc=0.9, loss=0.05, calibration_error=0.02)],
        device="two cores",
        training_hours=1.5,
        pictures={"worst.png": "Patches of the worst patients"},
    )
