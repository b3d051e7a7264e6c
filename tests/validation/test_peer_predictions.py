from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.options import EvaluateOptions
from bcd.validation.predictions import read_prediction_file
from bcd.validation.result import evaluate_models

FILE = Path(__file__).parents[2].parent / "shared/data/peer-predictions-val.csv"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FILE.exists(), reason="shared/data/peer-predictions-val.csv is not here"),
]

POOLED = {"jm_w32": 0.979, "jm_w32_dropout": 0.981, "jm_crop": 0.983, "jm_crop_morerot": 0.982}


def read(column: str) -> pd.DataFrame:
    peers = pd.read_csv(FILE, dtype={"patient": str})
    return peers.assign(hospital="idc", slide="5", probability=peers[column])


@pytest.mark.parametrize(("column", "pooled"), POOLED.items())
def test_a_published_network_has_its_known_auroc(column: str, pooled: float) -> None:
    scores = read(column)
    evaluation = evaluate_scores(scores, EvaluateOptions(), snapshot="peers", split="test")
    rest = scores[scores["patient"] != "8867"]
    assert (evaluation.n_patches, evaluation.n_patients) == (4194, 29)
    assert evaluation.largest_patient == "idc/8867"
    assert round(evaluation.pooled["auroc"].value or 0, 3) == pooled
    assert evaluation.pooled["auroc"].value == pytest.approx(roc_auc_score(scores["label"], scores[column]))
    assert evaluation.without_largest["auroc"].value == pytest.approx(roc_auc_score(rest["label"], rest[column]))
    assert evaluation.pooled["auroc"].low < pooled < evaluation.pooled["auroc"].high


def test_one_patient_carries_most_of_the_patches() -> None:
    evaluation = evaluate_scores(read("jm_crop"), EvaluateOptions(), snapshot="peers", split="test")
    assert evaluation.effective_patients == pytest.approx(5.3, abs=0.05)


def test_the_published_networks_can_be_compared() -> None:
    difference = compare_metrics(read("jm_w32"), read("jm_crop"), EvaluateOptions())["auroc"]
    assert difference.value == pytest.approx(0.0046, abs=5e-5)


def test_the_published_file_is_evaluated_as_it_is() -> None:
    predictions = read_prediction_file(FILE)
    assert predictions.columns == tuple(POOLED)
    scores = {column: predictions.scores(column) for column in predictions.columns}
    validation = evaluate_models(scores, EvaluateOptions(), title="peers", notes=[])
    assert len(validation.differences) == 6
    for column, pooled in POOLED.items():
        estimate = validation.evaluations[column].pooled["auroc"]
        assert round(estimate.value or 0, 3) == pooled
        assert estimate.low < pooled < estimate.high
    level = validation.evaluations["jm_crop"].patient_level
    assert level.descriptive
