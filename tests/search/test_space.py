"""The space of a study."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS
from bcd.preprocessing.options import PrepareOptions
from bcd.search import space
from bcd.search.options import SearchOptions
from bcd.search.space import SPACE, Recipe, check_grid, fingerprint_space, grid_points, propose, reference_points
from bcd.training.options import TrainOptions


@pytest.mark.parametrize("preparation", [PrepareOptions(), PrepareOptions(sharpen=False)])
@pytest.mark.parametrize("training", [TrainOptions(), TrainOptions(learning_rate=1e-5, stain_jitter=0.0)])
@pytest.mark.parametrize("preset", ["compact", "dissertation"])
def test_the_points_of_references_are_the_presets_trained_and_prepared_as_asked(
    preset: str, training: TrainOptions, preparation: PrepareOptions
) -> None:
    point = reference_points(preparation)[preset]
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


def test_a_grid_has_each_value_with_each_and_no_point_twice() -> None:
    points = grid_points({"filters": [16, 24], "residual": [False, True], "pairs_1": [1, 2]}, PrepareOptions())
    found = sorted((point["filters"], point["residual"], point.get("pairs_1", 0)) for point in points)
    plain, residual = [(16, False, 0), (24, False, 0)], [(16, True, 1), (16, True, 2), (24, True, 1), (24, True, 2)]
    assert found == sorted(plain + residual)  # a plain stage has no pairs
    assert all(point["learning_rate_factor"] == 1 for point in points)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"filter": [16]}, "'filters'"),
        ({"filters": [17]}, "17"),
        ({"filters": [16, 64]}, "64"),
        ({"filters": []}, "no value"),
        ({"stem": ["wide"]}, "'wide'"),
        ({"residual": [1]}, "1"),
        ({"later_dropout": [0.12]}, "0.12"),
    ],
)
def test_a_grid_of_something_else_is_refused_by_its_name_or_value(grid: dict[str, list[Any]], told: str) -> None:
    with pytest.raises(BcdError) as refused:
        check_grid(grid)
    assert told in f"{refused.value.what} {refused.value.fix}"
    check_grid(
        {"filters": [16, 48], "stem": ["none"], "residual": [True], "later_dropout": [0.15], "stem_kernel": [3]}
    )


@pytest.mark.parametrize("options", [{"sampler": "grid"}, {"grid": {"filters": [16]}}])
def test_a_grid_and_its_sampler_belong_together(options: dict[str, Any]) -> None:
    with pytest.raises(BcdError):
        SearchOptions.model_validate(options)


def test_the_fingerprint_follows_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_space()
    monkeypatch.setattr(space, "SPACE", SPACE | {"filters": space.Whole(16, 64, 8)})
    assert fingerprint_space() != before
