"""The figures that evaluate an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.training.history import score_epoch, score_val_by_patients


def test_pooled_and_patient_wise_auroc_differ_where_patients_differ_in_level() -> None:
    # Each patient is ranked perfectly, but the second one's logits lie all above the first one's.
    logits = np.array([-3.0, -2.0, 2.0, 3.0])
    figures = score_epoch(logits, np.array([0, 1, 0, 1]), np.array(["a", "a", "b", "b"]))
    assert figures["val_auroc"] == pytest.approx(0.75)
    assert figures["val_auroc_patients"] == 1.0


def test_a_patient_of_one_class_has_no_auroc_and_does_not_count() -> None:
    labels = np.array([0, 1, 1, 1])
    figures = score_epoch(np.array([0.0, 1.0, -5.0, -6.0]), labels, np.array(["a", "a", "b", "b"]))
    assert figures["val_auroc_patients"] == 1.0
    apart = score_epoch(np.array([0.0, 1.0]), labels[:2], np.array(["a", "b"]))
    assert "val_auroc_patients" not in apart


def test_the_loss_is_cross_entropy_of_logits() -> None:
    figures = score_epoch(np.array([0.0, 2.0]), np.array([0, 1]), np.array(["a", "a"]))
    assert figures["val_loss"] == pytest.approx((np.log(2) + np.log1p(np.exp(-2))) / 2)


def test_the_aurocs_are_those_of_scikit_learn_with_ties_and_saturated_logits() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(3)
    patients = random.choice(["a", "b", "c", "d"], 400, p=[0.7, 0.2, 0.07, 0.03])
    labels = random.integers(0, 2, 400)
    logits = np.round(random.normal(labels + (patients == "a"), 2), 1).astype(np.float32)
    logits[:9] += 500  # whose probabilities are all 1
    sizes = {patient: np.sum(patients == patient) for patient in "abcd"}
    weights = [1 / sizes[patient] for patient in patients]
    own = [roc_auc_score(labels[patients == patient], logits[patients == patient]) for patient in "abcd"]
    figures = score_epoch(logits, labels, patients)
    assert figures["val_score"] == pytest.approx(roc_auc_score(labels, logits, sample_weight=weights))
    assert score_val_by_patients(logits, labels, patients) == pytest.approx(figures["val_score"])
    assert figures["val_auroc"] == pytest.approx(roc_auc_score(labels, logits))
    assert figures["val_auroc_patients"] == pytest.approx(np.mean(own))
