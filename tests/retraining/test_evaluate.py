"""The evaluation of an ensemble: policy and figures are of what its bundle will answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from patients import in_snapshot, list_patches

from bcd.bundle.engine import BATCH
from bcd.bundle.write import write_graph
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import cross_fit
from bcd.evaluation.policy.context import cross_fit_context
from bcd.evaluation.policy.policy import fit_policy
from bcd.networks.architecture import Architecture, Stage, Stem
from bcd.networks.build import build_network
from bcd.networks.keras_files import load_network
from bcd.patches import Hospital, PatientId, SlideId, SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.retraining.evaluate import EvaluatedNetwork, evaluate_retrained
from bcd.snapshots.freeze import Snapshot
from bcd.training.predict import predict_logits

OPTIONS = EvaluateOptions(resamples=100)


@pytest.fixture(scope="module")
def prepared() -> PreparedSnapshot:
    """160 patches of 16 patients, half of them val, half test; IDC is darker."""
    splits = {str(patient): "val" if patient < 8 else "test" for patient in range(16)}
    patches = in_snapshot(list_patches(splits, [0, 1] * 5, slide="1"))
    random = np.random.default_rng(0)
    pixels = random.integers(100, 256, (160, 50, 50, 3), dtype=np.uint8)
    pixels[patches["label"] == 1] -= random.integers(0, 100, (80, 1, 1, 1), dtype=np.uint8)
    return PreparedSnapshot(Snapshot(SnapshotId("a" * 64), "dealt", patches), PrepareOptions(), pixels)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("networks")
    tiny = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4, depth=1)])
    for seed in (1, 2):
        build_network(tiny, seed).save(folder / f"{seed}.keras")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def evaluated(
    prepared: PreparedSnapshot, files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> EvaluatedNetwork:
    folder = tmp_path_factory.mktemp("e")
    write_graph(files, folder / "graph")
    return evaluate_retrained(prepared, folder / "graph", OPTIONS, folder / "evaluation", turns=8)


@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_are_the_ensembles_in_all_its_turns(
    split: str, evaluated: EvaluatedNetwork, prepared: PreparedSnapshot, files: list[Path]
) -> None:
    networks = [load_network(file) for file in files]
    pixels = prepared.pixels[prepared.rows(split)]
    logits = evaluated.scores(split)["logit"]
    np.testing.assert_allclose(logits, predict_logits(networks, pixels, turns=8), atol=1e-5)
    for other in (predict_logits(networks, pixels), predict_logits(networks[0], pixels, turns=8)):
        assert np.abs(logits - other).max() > 1e-4


def test_no_split_is_held_in_memory(prepared: PreparedSnapshot, evaluated: EvaluatedNetwork, tmp_path: Path) -> None:
    read = []

    class Watched:
        def __getitem__(self, rows):
            read.append(len(rows))
            return prepared.pixels[rows]

    mapped = replace(prepared, pixels=cast("Any", Watched()))
    again = evaluate_retrained(mapped, evaluated.folder.parent / "graph", OPTIONS, tmp_path / "evaluation", turns=8)

    assert again.scores("test")["logit"].equals(evaluated.scores("test")["logit"])
    assert (sum(read), max(read)) == (160, BATCH)


def test_the_policy_is_fitted_on_the_ensembles_logits(evaluated: EvaluatedNetwork) -> None:
    val = evaluated.scores("val")
    assert evaluated.policy == fit_policy(val["logit"], val["label"], val["patient"], OPTIONS)
    test = evaluated.scores("test")
    np.testing.assert_allclose(test["probability"], evaluated.policy.calibrator.apply(test["logit"]))


def test_val_is_evaluated_by_cross_fitted_probabilities(evaluated: EvaluatedNetwork) -> None:
    val = evaluated.scores("val")
    crossed = cross_fit(val["logit"], val["label"], val["patient"], folds=OPTIONS.folds)
    np.testing.assert_allclose(val["probability"], crossed)
    assert np.abs(crossed - evaluated.policy.calibrator.apply(val["logit"])).max() > 1e-6


def test_an_evaluation_that_is_there_is_read(
    evaluated: EvaluatedNetwork, prepared: PreparedSnapshot, tmp_path: Path
) -> None:
    assert evaluate_retrained(prepared, tmp_path / "gone", OPTIONS, evaluated.folder) == evaluated


def test_val_patients_with_complete_slides_fit_the_stage_of_neighbours(
    evaluated: EvaluatedNetwork, prepared: PreparedSnapshot, tmp_path: Path
) -> None:
    assert evaluated.policy.context is None
    assert all(evaluated.scores(split)["context_probability"].isna().all() for split in ("val", "test"))
    whole = frozenset((Hospital("east"), PatientId(str(patient)), SlideId("1")) for patient in (0, 1, 2, 3, 9))
    snapshot = replace(prepared.snapshot, complete=whole)
    graph = evaluated.folder.parent / "graph"
    known = evaluate_retrained(replace(prepared, snapshot=snapshot), graph, OPTIONS, tmp_path / "e", turns=8)
    val, test = known.scores("val"), known.scores("test")
    assert known.policy == evaluated.policy.with_context(val, OPTIONS)
    assert known.policy.context is not None
    assert known.policy.context.n_patients == 4
    assert set(val.loc[val["context_probability"].notna(), "patient"]) == {"0", "1", "2", "3"}
    assert set(test.loc[test["context_probability"].notna(), "patient"]) == {"9"}
    np.testing.assert_array_equal(val["context_probability"], cross_fit_context(val, folds=OPTIONS.folds))
    np.testing.assert_array_equal(test["context_probability"], known.policy.score_context(test))
    for split, patients in {"val": 4, "test": 1}.items():
        found = known.evaluations[split].context
        assert found is not None
        assert found.n_patients == patients
    np.testing.assert_array_equal(val["probability"], evaluated.scores("val")["probability"])
