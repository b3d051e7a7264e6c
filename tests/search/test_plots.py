"""The pictures of a study, of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from bcd.networks.architecture import PRESETS
from bcd.preprocessing.options import PrepareOptions
from bcd.search.plots import draw_study
from bcd.search.records import StudyResult, TrialRecord
from bcd.search.refit import find_front
from bcd.search.space import propose, reference_points
from bcd.training.options import TrainOptions

ALL = ["history", "learning-curves", "score-and-cost", "parallel-coordinates", "importances"]


def _study(number: int, *, importances: dict[str, float], cut_from: int = 3) -> StudyResult:
    random = np.random.default_rng(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    known = list(reference_points(PrepareOptions()))
    trials = []
    for n in range(number):
        label = known[n] if n < len(known) else ""
        point = optuna.trial.FixedTrial(reference_points(PrepareOptions())[label]) if label else study.ask()
        recipe = propose(point, TrainOptions(), PrepareOptions())
        pruned = n >= cut_from and n % 2 == 1
        scores = 0.9 - 0.1 * np.exp(-np.arange(1, 3 if pruned else 7)) + random.normal(0, 0.01)
        history = [{"val_score": float(score), "seconds": 10.0} for score in scores]
        trials.append(
            TrialRecord(
                n,
                "pruned" if pruned else "complete",
                history[-1]["val_score"],
                point.params,
                recipe.architecture,
                recipe.training,
                100_000,
                int(random.uniform(5e6, 4e7)),
                60.0,
                history,
                allowed=n != 1,
                kind="reference" if label else "proposed",
                label=label,
            )
        )
    best = max((trial for trial in trials if trial.allowed), key=lambda trial: trial.value or 0.0).number
    return StudyResult(
        "study-1",
        PRESETS["compact"],
        TrainOptions(),
        best,
        trials,
        "",
        front=find_front(trials),
        importances=importances,
    )


@pytest.mark.parametrize(
    ("study", "names"),
    [
        (_study(14, importances={"order": 0.6, "stem": 0.4}), ALL),
        (_study(2, importances={}, cut_from=1), ALL[:3]),
        (_study(1, importances={}), ALL[:3]),
    ],
    ids=["many", "two", "one"],
)
def test_every_picture_that_the_trials_suffice_for_is_drawn_and_the_same_every_time(
    tmp_path: Path, study: StudyResult, names: list[str]
) -> None:
    files = draw_study(study, tmp_path / "once")
    assert [file.stem for file in files] == names
    again = draw_study(study, tmp_path / "again")
    for file, other in zip(files, again, strict=True):
        assert file.read_bytes() == other.read_bytes()
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_study_without_scores_has_no_pictures(tmp_path: Path) -> None:
    assert draw_study(StudyResult("s", PRESETS["compact"], TrainOptions(), 0, [], ""), tmp_path) == []
