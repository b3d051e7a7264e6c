"""The context of a patch: the mean of its neighbours corrects it, on complete slides; certified from ten on."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bcd.errors import InsufficientEvidenceError
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy import context
from bcd.evaluation.policy.calibration import Calibrator, fit_calibrator
from bcd.evaluation.policy.context import Context, cross_fit_context, fit_context, fit_stage, score_context
from bcd.evaluation.policy.neighbours import find_neighbours, mean_neighbour
from bcd.evaluation.policy.policy import fit_policy
from bcd.patches import patient_keys

OPTIONS = EvaluateOptions(resamples=100, folds=4)
STAGE = Context(own=0.5, neighbours=2.0, intercept=-1.0, n_patients=3)
AS_IT_IS = Calibrator(slope=1.0, intercept=0.0)


def draw_slides(patients: int, seed: int, *, edge: int = 20, separation: float = 1.5) -> pd.DataFrame:
    """Full square slides with a round tumour each, of which a patch by itself says little."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(edge * edge), edge)
    frames = []
    for number in range(patients):
        centre, radius = rng.uniform(0, edge, 2), edge * rng.uniform(0.15, 0.5)
        label = (np.hypot(row - centre[0], column - centre[1]) < radius).astype(np.int8)
        evidence = separation * (label - 0.5) + rng.normal(size=len(label)) + 0.3 * rng.normal()
        places = {"slide": "1", "x": 1 + 50 * column, "y": 1 + 50 * row}
        scored = {"label": label, "logit": separation * evidence, "complete": True}
        frames.append(pd.DataFrame({"hospital": "h", "patient": str(number), **places, **scored}))
    return pd.concat(frames, ignore_index=True)


def leave(neighbours: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Leaves at most so many of the neighbours of each patch, chosen at random."""
    rng = np.random.default_rng(seed)
    rank = np.where(np.isnan(neighbours), 9, rng.random(neighbours.shape)).argsort(axis=1).argsort(axis=1)
    return np.where(rank < number, neighbours, np.nan)


def calibration_error(probability: np.ndarray, label: np.ndarray) -> float:
    """Mean, over tenths of the patches by their probability, of how far the mean is from the share of IDC."""
    tenths = np.array_split(np.argsort(probability), 10)
    return float(np.mean([abs((probability[each] - label[each]).mean()) for each in tenths]))


def test_neighbours_are_the_eight_around_on_the_same_slide() -> None:
    rng = np.random.default_rng(1)
    places = [(slide, column, row) for slide in "12" for column in range(6) for row in range(5)]
    kept = rng.permutation(len(places))[:40]
    patches = pd.DataFrame([places[each] for each in kept], columns=["slide", "column", "row"])
    patches = patches.assign(hospital="h", patient="p", x=1 + 50 * patches["column"], y=1 + 50 * patches["row"])
    values = rng.normal(size=40)
    keys = zip(*(patches[name] for name in ("slide", "column", "row")), strict=True)
    known = dict(zip(keys, values, strict=True))
    found = find_neighbours(patches, values)
    for (slide, column, row), mine in zip(known, found, strict=True):
        around = [(slide, column + i, row + j) for i, j in itertools.product((-1, 0, 1), repeat=2) if i or j]
        assert sorted(mine[~np.isnan(mine)]) == sorted(known[each] for each in around if each in known)


def test_the_mean_is_of_those_that_are_there() -> None:
    none = np.full(8, np.nan)
    some = none.copy()
    some[[1, 6]] = 2.0, 5.0
    np.testing.assert_array_equal(mean_neighbour(np.stack([some, none])), [3.5, np.nan])


def test_a_patch_without_a_neighbour_keeps_its_probability() -> None:
    logits = np.array([-2.0, 0.3])
    probability = STAGE.apply(logits, np.full((2, 8), np.nan))
    np.testing.assert_array_equal(probability, AS_IT_IS.apply(logits))


@pytest.mark.parametrize("number", range(1, 9))
def test_how_many_neighbours_there_are_says_nothing(number: int) -> None:
    neighbours = np.full((1, 8), np.nan)
    neighbours[0, :number] = 1.5
    assert STAGE.apply(np.array([1.0]), neighbours) == pytest.approx(AS_IT_IS.apply([0.5 * 1 + 2 * 1.5 - 1]))


def test_context_tells_tumour_from_none_better_than_a_patch_by_itself() -> None:
    val, test = draw_slides(8, 1), draw_slides(12, 2)
    policy = fit_policy(val["logit"], val["label"], val["patient"], OPTIONS).with_context(val, OPTIONS)
    together = policy.score_context(test)
    positive = test["label"].to_numpy() == 1
    alone = policy.calibrator.apply(test["logit"])
    assert roc_auc_score(positive, together) > roc_auc_score(positive, alone) + 0.05
    for patient in test["patient"].unique():
        mine = test["patient"] == patient
        assert roc_auc_score(positive[mine], together[mine]) > roc_auc_score(positive[mine], alone[mine])


def test_dropped_neighbours_keep_the_scales_together(monkeypatch: pytest.MonkeyPatch) -> None:
    val, test = draw_slides(12, 1), draw_slides(40, 2)
    calibrator = fit_calibrator(val["logit"], val["label"])
    logits, label = calibrator.scale(test["logit"]), test["label"].to_numpy()
    neighbours = find_neighbours(test, logits)

    def errors() -> list[float]:
        stage = fit_stage(val, calibrator)
        return [calibration_error(stage.apply(logits, leave(neighbours, number)), label) for number in range(9)]

    dropped = errors()
    monkeypatch.setattr(context, "_KEPT", 1.0)
    every_one = errors()
    assert max(dropped) < 0.13
    assert max(dropped[2:]) < 0.07
    assert all(more > less for more, less in zip(every_one[1:4], dropped[1:4], strict=True))
    assert max(every_one) > max(dropped) + 0.02


def test_neighbours_that_point_the_other_way_count_nothing() -> None:
    val = draw_slides(4, 3)
    checked = ((val["x"] + val["y"]) // 50 % 2).astype(
        np.int8
    )  # every neighbour across an edge is of the other class
    val = val.assign(label=checked, logit=0.5 * (2 * checked - 1) + np.random.default_rng(4).normal(size=len(val)))
    stage = fit_stage(val, AS_IT_IS)
    assert stage.neighbours == 0
    assert stage.own > 0


def test_only_complete_slides_have_a_context() -> None:
    val = draw_slides(6, 5)
    thinned = val.assign(complete=val["patient"].astype(int) < 4)
    policy = fit_policy(val["logit"], val["label"], val["patient"], OPTIONS).with_context(thinned, OPTIONS)
    assert policy.context is not None
    assert policy.context.n_patients == 4
    np.testing.assert_array_equal(np.isnan(policy.score_context(thinned)), ~thinned["complete"])
    shuffled = val.assign(
        label=np.where(thinned["complete"], val["label"], 1 - val["label"]), complete=thinned["complete"]
    )
    again = fit_context(shuffled, policy.calibrator, OPTIONS)
    assert again == policy.context


def test_every_patient_counts_the_same() -> None:
    val = draw_slides(5, 6)
    several = [val, *(val[val["patient"] == "0"].assign(slide=str(slide)) for slide in (2, 3, 4))]
    one, more = (fit_stage(each, AS_IT_IS) for each in (val, pd.concat(several, ignore_index=True)))
    assert (one.own, one.neighbours, one.intercept) == pytest.approx(
        (more.own, more.neighbours, more.intercept), abs=0.1
    )


@pytest.mark.parametrize(
    ("patients", "certified", "standing"),
    [
        (3, 0, "uncertified: 3 complete patients, 10 are needed"),
        (9, 0, "uncertified: 9 complete patients, 10 are needed"),
        (10, 3, "certified on 10 complete patients"),
    ],
)
def test_context_is_certified_from_ten_complete_patients_on(patients: int, certified: int, standing: str) -> None:
    val = draw_slides(patients, 7, edge=10)
    stage = fit_context(val, fit_calibrator(val["logit"], val["label"]), OPTIONS)
    assert stage is not None
    assert (len(stage.certified), stage.standing) == (certified, standing)
    assert all(each.n_patients == patients for each in stage.certified)


def test_there_is_no_context_with_two_complete_patients_or_one_class() -> None:
    val = draw_slides(4, 8, edge=10)
    assert fit_context(val.assign(complete=val["patient"] < "2"), AS_IT_IS, OPTIONS) is None
    assert fit_context(val.assign(label=0), AS_IT_IS, OPTIONS) is None
    with pytest.raises(InsufficientEvidenceError):
        fit_stage(val.iloc[[0, 5, 44, 99]].assign(label=[0, 1, 0, 1]), AS_IT_IS)  # no two are neighbours
    np.testing.assert_array_equal(score_context(val, AS_IT_IS, None), np.full(len(val), np.nan))


def test_a_patients_own_labels_do_not_move_its_cross_fitted_context() -> None:
    val = draw_slides(6, 9, edge=10)
    before = cross_fit_context(val, folds=3)
    assert not np.isnan(before).any()
    mine = (patient_keys(val) == "h/2").to_numpy()
    after = cross_fit_context(val.assign(label=np.where(mine, 1 - val["label"], val["label"])), folds=3)
    np.testing.assert_array_equal(after[mine], before[mine])
    assert not np.array_equal(after[~mine], before[~mine])


def test_the_fit_does_not_depend_on_the_order_of_other_columns_or_on_chance() -> None:
    val = draw_slides(3, 10, edge=10)
    assert fit_stage(val, AS_IT_IS) == fit_stage(val[val.columns[::-1]], AS_IT_IS)
