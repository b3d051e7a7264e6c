"""The review's simulations: pairs are counted as AUROC counts them, and planted labels are found where they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import review_queue
from review_features import Fold
from review_labels import PLANTED, tell_suspicious
from review_queue import LABELS, WAYS, Pairs, find_needed
from sklearn.metrics import roc_auc_score

from bcd.patches import patient_keys


def make_fold(number: int, patients: int = 12, size: int = 40) -> Fold:
    """Patients on one row of a slide each, whose label the first of four features tells well."""
    random = np.random.default_rng(number)
    patches = pd.DataFrame(
        {
            "hospital": "east",
            "patient": np.repeat([f"{number}{one:02}" for one in range(patients)], size),
            "slide": "5",
            "x": np.tile(1 + 50 * np.arange(size), patients),
            "y": 1,
            "label": random.integers(0, 2, patients * size).astype(np.int8),
            "natural": True,
        }
    )
    patches["complete"] = patches["patient"] == f"{number}00"
    features = random.normal(size=(2, len(patches), 4)).astype(np.float32)
    features[..., 0] += 4 * (patches["label"].to_numpy() - 0.5)
    return Fold(patches, features)


def test_the_auroc_of_counted_pairs_is_that_of_the_scores() -> None:
    fold, random = make_fold(0), np.random.default_rng(3)
    logit = random.normal(size=len(fold.patches)) + fold.patches["label"].to_numpy()
    keys = sorted(set(patient_keys(fold.patches)))
    pairs = Pairs(len(keys))
    review_queue._count(fold.patches, logit, keys, pairs, (0, 0))
    [found] = pairs.auroc(np.ones((1, len(keys))))[0, 0]
    assert found == pytest.approx(roc_auc_score(fold.patches["label"], logit))
    doubled = np.ones((1, len(keys)))
    doubled[0, 3] = 2
    both = np.concatenate([np.arange(len(logit)), np.flatnonzero(patient_keys(fold.patches) == keys[3])])
    assert pairs.auroc(doubled)[0, 0, 0] == pytest.approx(
        roc_auc_score(fold.patches["label"].to_numpy()[both], logit[both])
    )


def test_every_way_labels_as_many_and_ends_with_all_curves(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_queue, "MOST", 60)
    monkeypatch.setattr(review_queue, "LABELS", LABELS[:3])
    monkeypatch.setattr(review_queue, "SHOWN", (20, 60))
    monkeypatch.setattr(review_queue, "TARGETS", (40,))
    told = review_queue.tell_queue({"last": [make_fold(0), make_fold(1)]}, 1, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").exists()
    assert [line.split("|")[1].strip() for line in told.splitlines()[4 : 4 + len(WAYS)]] == list(WAYS)
    assert "nan" not in told


def test_labels_needed_lie_between_the_steps() -> None:
    curve = np.linspace(0.8, 0.9, len(LABELS))
    assert find_needed(curve, 0.8) == LABELS[0]
    assert find_needed(curve, (curve[3] + curve[4]) / 2) == pytest.approx((LABELS[3] + LABELS[4]) / 2)
    assert find_needed(curve, 0.95) == np.inf


def test_planted_labels_are_found_where_features_tell_them() -> None:
    told = tell_suspicious([make_fold(number) for number in range(3)])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()[2:6]]
    assert [row[1] for row in rows] == ["1,440", "1,440", "120", "120"]
    assert int(rows[0][2]) == pytest.approx(1440 * PLANTED, abs=30)
    assert float(rows[0][3].split("%")[0]) > 80
