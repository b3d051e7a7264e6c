"""The space of a study."""

from __future__ import annotations

import optuna
import pytest

from bcd.networks.architecture import PRESETS
from bcd.search.space import DEFAULT, propose
from bcd.training.options import TrainOptions


@pytest.mark.parametrize("training", [TrainOptions(), TrainOptions(learning_rate=1e-5, weight_decay=0.0)])
def test_the_default_point_is_compact_trained_as_asked(training: TrainOptions) -> None:
    trial = optuna.trial.FixedTrial(DEFAULT)
    assert propose(trial, training) == (PRESETS["compact"], training)
    assert trial.params == DEFAULT  # nothing in it is unused


def test_whatever_is_proposed_is_a_valid_architecture_and_valid_training() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    training = TrainOptions(learning_rate=0.9, weight_decay=0.9)
    proposals = [propose(study.ask(), training) for _ in range(100)]
    for architecture, options in proposals:
        TrainOptions.model_validate(options.model_dump())
        type(architecture).model_validate(architecture.model_dump())
    assert {len(architecture.stages) for architecture, _ in proposals} == {2, 3}
    assert len({architecture.fingerprint() for architecture, _ in proposals}) > 90
