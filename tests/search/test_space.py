"""The space of a study."""

from __future__ import annotations

import optuna
import pytest

from bcd.networks.architecture import PRESETS
from bcd.preprocessing.options import PrepareOptions
from bcd.search import space
from bcd.search.space import SPACE, Recipe, fingerprint_space, first_search_points, propose
from bcd.training.options import TrainOptions


@pytest.mark.parametrize("preparation", [PrepareOptions(), PrepareOptions(sharpen=False, stain="macenko")])
@pytest.mark.parametrize("training", [TrainOptions(), TrainOptions(learning_rate=1e-5, stain_jitter=0.0)])
@pytest.mark.parametrize(("number", "preset"), [(0, "compact"), (1, "dissertation")])
def test_the_first_two_points_are_the_presets_trained_and_prepared_as_asked(
    number: int, preset: str, training: TrainOptions, preparation: PrepareOptions
) -> None:
    point = first_search_points(preparation)[number]
    trial = optuna.trial.FixedTrial(point)
    recipe = propose(trial, training, preparation)
    assert recipe == Recipe(architecture=PRESETS[preset], training=training, preparation=preparation)
    assert trial.params == point  # nothing in it is unused


def _propose_many(number: int) -> list[tuple[dict[str, object], Recipe]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    training = TrainOptions(learning_rate=0.9, weight_decay=0.9, stain_jitter=4.0)
    proposals = []
    for _ in range(number):
        trial = study.ask()
        recipe = propose(trial, training, PrepareOptions())
        proposals.append((trial.params, recipe))
    return proposals


def test_whatever_is_proposed_is_a_valid_recipe_and_the_whole_space_is_reached() -> None:
    proposals = _propose_many(300)
    for _, recipe in proposals:
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert {name for params, _ in proposals for name in params} == set(SPACE)
    kinds = {recipe.architecture.stem.kind if recipe.architecture.stem else "none" for _, recipe in proposals}
    assert kinds == {"plain", "strided", "patchify", "none"}
    assert {recipe.preparation.sharpen for _, recipe in proposals} == {True, False}
    assert len({recipe.architecture.fingerprint() for _, recipe in proposals}) > 290


def test_what_is_asked_depends_on_what_was_answered() -> None:
    for params, recipe in _propose_many(100):
        assert ("stem_tile" in params) == (params["stem"] == "patchify")
        assert ("stem_kernel" in params) == (params["stem"] in ("plain", "strided"))
        assert ("pairs_1" in params) == params["residual"] != ("depth_1" in params)
        assert ("depth_3" in params or "pairs_3" in params) == (len(recipe.architecture.stages) == 3)


def test_the_fingerprint_follows_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_space()
    monkeypatch.setattr(space, "SPACE", SPACE | {"filters": space.Whole(16, 64, 8)})
    assert fingerprint_space() != before
