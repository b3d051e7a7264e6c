from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scores import (
    PATIENT_SIZES,
    ScoreModel,
    compute_true_metric,
    draw_patches,
    draw_score_pair,
    draw_synthetic_scores,
    make_synthetic_population,
    separate_to_auroc,
)
from sklearn import metrics as sk

from bcd.patches import PatchName, patient_keys

MODEL = ScoreModel()


@pytest.mark.real_data
def test_the_sizes_are_those_of_the_development_deliveries() -> None:
    import zipfile
    from collections import Counter

    folder = Path(__file__).parents[3] / "shared/data/batches"
    if not folder.exists():
        pytest.skip("shared/data/batches is not here: this test needs the development deliveries")
    members = [name for path in folder.glob("*.zip") for name in zipfile.ZipFile(path).namelist()]
    patches = [PatchName.parse(member.rsplit("/", 1)[-1]) for member in members]
    sizes = Counter(patch.patient for patch in patches if patch is not None)
    assert tuple(sorted(sizes.values())) == PATIENT_SIZES


def test_sizes_are_as_unequal_as_the_real_ones() -> None:
    assert (len(PATIENT_SIZES), max(PATIENT_SIZES), sum(size < 30 for size in PATIENT_SIZES)) == (230, 1642, 100)
    sizes = draw_synthetic_scores(MODEL, 400, seed=0).groupby("patient").size()
    assert len(sizes) == 400
    assert set(sizes) <= set(PATIENT_SIZES)


def test_the_same_seed_draws_the_same_scores() -> None:
    pd.testing.assert_frame_equal(draw_synthetic_scores(MODEL, 9, seed=4), draw_synthetic_scores(MODEL, 9, seed=4))
    assert not draw_synthetic_scores(MODEL, 9, seed=5).equals(draw_synthetic_scores(MODEL, 9, seed=4))


def test_patches_lie_on_the_grid_once_and_idc_in_one_piece() -> None:
    from scipy.ndimage import label

    scores = draw_synthetic_scores(ScoreModel(hospitals=2, prevalence=0.5), 30, seed=2)
    assert not scores.duplicated(["hospital", "patient", "slide", "x", "y"]).any()
    assert set(scores["hospital"]) == {"hospital-1", "hospital-2"}
    pieces = []
    for _, patient in scores.groupby("patient"):
        column, row = (patient[axis].to_numpy() // 50 for axis in ("x", "y"))
        grid = np.zeros((row.max() + 1, column.max() + 1), dtype=bool)
        grid[row, column] = patient["label"] == 1
        pieces.append(label(grid, np.ones((3, 3)))[1])
    assert max(pieces) == 1


def test_patients_without_a_tumour_have_no_idc() -> None:
    scores = draw_synthetic_scores(ScoreModel(tumour_free=0.5, prevalence=0.9, prevalence_sd=0), 200, seed=1)
    with_idc = scores.groupby("patient")["label"].max().sum()
    assert 75 < with_idc < 125


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        ScoreModel(separation=1.5, patient_sd=1.0, slope_sd=0.0, prevalence=0.5, tumour_free=0.3),
        ScoreModel(slope=0.5, intercept=-0.7, slope_sd=0.5, prevalence_sd=0.0),
    ],
)
def test_the_truth_is_what_very_many_patients_show(model: ScoreModel) -> None:
    drawn = draw_patches(model, 20_000, np.random.default_rng(0))
    y, p = drawn.label == 1, drawn.probability
    kept = (p >= 0.9) | (1 - p >= 0.9)
    shown = {
        "auroc": sk.roc_auc_score(y, p),
        "auprc": sk.average_precision_score(y, p),
        "accuracy": sk.accuracy_score(y, p >= 0.5),
        "balanced_accuracy": sk.balanced_accuracy_score(y, p >= 0.5),
        "precision": sk.precision_score(y, p >= 0.5),
        "recall": sk.recall_score(y, p >= 0.5),
        "specificity": sk.recall_score(~y, p < 0.5),
        "npv": sk.precision_score(~y, p < 0.5),
        "f1": sk.f1_score(y, p >= 0.5),
        "brier": np.mean((p - y) ** 2),
        "coverage": kept.mean(),
        "selective_error": ((p >= 0.5) != y)[kept].mean(),
    }
    assert y.mean() == pytest.approx(model.share, abs=0.01)
    for metric, value in shown.items():
        assert compute_true_metric(model, metric, 0.9) == pytest.approx(value, abs=0.012), metric


def test_alike_patients_are_calibrated_by_slope_and_intercept() -> None:
    logit, idc, none = make_synthetic_population(ScoreModel(patient_sd=0, slope_sd=0, slope=0.6, intercept=0.4))
    felt = (idc > 1e-12) & (none > 1e-12)
    np.testing.assert_allclose(np.log(idc[felt] / none[felt]), 0.6 * logit[felt] + 0.4, atol=1e-3)


def test_patients_resemble_themselves() -> None:
    drawn = draw_patches(ScoreModel(patient_sd=1.0), 2000, np.random.default_rng(3))
    wrong = ((drawn.probability >= 0.5) != (drawn.label == 1)).astype(float)
    sizes = np.bincount(drawn.patient)
    large = sizes >= 50
    by_patient = np.bincount(drawn.patient, weights=wrong)[large] / sizes[large]
    if_alike = wrong.mean() * (1 - wrong.mean()) * (1 / sizes[large]).mean()
    assert by_patient.var() > 3 * if_alike


def test_a_pair_shares_patches_and_labels_and_part_of_its_noise() -> None:
    a, b = draw_score_pair(MODEL, separate_to_auroc(MODEL, 0.9), 60, seed=1, correlation=0.8)
    key = ["hospital", "patient", "slide", "x", "y", "label"]
    pd.testing.assert_frame_equal(a[key], b[key])
    pd.testing.assert_frame_equal(a, draw_synthetic_scores(MODEL, 60, seed=1))
    none = a["label"] == 0
    assert 0.7 < np.corrcoef(a.loc[none, "logit"], b.loc[none, "logit"])[0, 1] < 0.9
    same, twice = draw_score_pair(MODEL, MODEL, 9, seed=1, correlation=1.0)
    pd.testing.assert_frame_equal(same, twice)


def test_a_model_is_found_for_a_wanted_auroc() -> None:
    assert compute_true_metric(separate_to_auroc(MODEL, 0.9), "auroc") == pytest.approx(0.9, abs=1e-5)


def test_the_number_of_patients_is_that_of_the_frame() -> None:
    assert len(set(patient_keys(draw_synthetic_scores(ScoreModel(hospitals=3), 17, seed=0)))) == 17
