"""The space that a study searches: the network's shape, its optimiser's rates, its augmentation, and sharpening.

It is conditional: a patchify stem has tiles and a strided one a kernel, a residual stage has pairs of convolutions
and a plain one any number. What belongs to the training is searched as a factor of what was asked for, so `DEFAULT`
is what would be trained without a search, whatever that is.
"""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from bcd.errors import BcdError
from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.options import Options
from bcd.preprocessing.options import PrepareOptions
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from optuna import Trial


class Whole(NamedTuple):
    """A range of whole numbers, both ends included."""

    low: int
    high: int
    step: int = 1


class Real(NamedTuple):
    """A range of real numbers, in steps, or without and on a logarithmic scale."""

    low: float
    high: float
    step: float | None = None


SPACE: dict[str, Whole | Real | tuple[Any, ...]] = {
    "stem": ("strided", "patchify", "plain", "none"),
    "stem_filters": Whole(16, 48, 8),
    "stem_kernel": (3, 5, 7),
    "stem_stride": Whole(2, 3),
    "stem_tile": Whole(2, 5),
    "stages": Whole(2, 3),
    "filters": Whole(16, 48, 8),
    "growth": (1.5, 2.0),
    "residual": (False, True),
    "depth_1": Whole(1, 3),
    "depth_2": Whole(1, 3),
    "depth_3": Whole(1, 3),
    "pairs_1": Whole(1, 2),
    "pairs_2": Whole(1, 2),
    "pairs_3": Whole(1, 2),
    "order": ("conv-norm-relu", "conv-relu-norm", "norm-relu-conv"),
    "pooling": ("max", "average"),
    "first_dropout": Real(0.0, 0.3, 0.05),
    "later_dropout": Real(0.0, 0.3, 0.05),
    "reduce": ("average", "max", "flatten"),
    "dense": (0, 64, 128, 256),
    "head_dropout": Real(0.0, 0.5, 0.1),
    "learning_rate_factor": Real(0.3, 3.0),
    "weight_decay_factor": Real(0.1, 10.0),
    "stain_jitter_factor": Real(0.0, 2.0, 0.25),
    "light_jitter_factor": Real(0.0, 2.0, 0.25),
    "sharpen": (True, False),
}
"""Every parameter with its values; a tuple is a choice."""

_AS_ASKED = {
    "learning_rate_factor": 1.0,
    "weight_decay_factor": 1.0,
    "stain_jitter_factor": 1.0,
    "light_jitter_factor": 1.0,
}

DEFAULT: dict[str, Any] = _AS_ASKED | {
    "stem": "strided",
    "stem_filters": 32,
    "stem_kernel": 5,
    "stem_stride": 2,
    "stages": 3,
    "filters": 32,
    "growth": 2.0,
    "residual": False,
    "depth_1": 2,
    "depth_2": 2,
    "depth_3": 2,
    "order": "conv-norm-relu",
    "pooling": "max",
    "first_dropout": 0.0,
    "later_dropout": 0.1,
    "reduce": "average",
    "dense": 0,
    "head_dropout": 0.2,
}
"""The point that is `compact` with the training as asked: with the sharpening as asked, trial 0 of every study."""

DISSERTATION: dict[str, Any] = _AS_ASKED | {
    "stem": "none",
    "stages": 3,
    "filters": 32,
    "growth": 2.0,
    "residual": False,
    "depth_1": 3,
    "depth_2": 3,
    "depth_3": 3,
    "order": "conv-relu-norm",
    "pooling": "max",
    "first_dropout": 0.25,
    "later_dropout": 0.3,
    "reduce": "flatten",
    "dense": 256,
    "head_dropout": 0.3,
}
"""The point that is `dissertation`, likewise: trial 1 of every study."""


class Recipe(Options):
    """What a trial tries: a network, how it is trained, and on patches prepared how."""

    architecture: Architecture
    training: TrainOptions
    preparation: PrepareOptions


def fingerprint_space() -> str:
    """Returns 12 hex digits that are equal exactly when the space is."""
    return hashlib.sha256(repr(SPACE).encode()).hexdigest()[:12]


def reference_points(preparation: PrepareOptions) -> dict[str, dict[str, Any]]:
    """Returns the points that are known networks, by name, the default first."""
    known = {"compact": DEFAULT, "dissertation": DISSERTATION}
    return {name: point | {"sharpen": preparation.sharpen} for name, point in known.items()}


def check_grid(grid: dict[str, list[Any]]) -> None:
    """Checks that a grid is of the space.

    Raises:
        BcdError: It names no parameter of the space, or a value that the parameter does not take.
    """
    for name, values in grid.items():
        if name not in SPACE:
            near = get_close_matches(name, SPACE, 1)
            raise BcdError(
                f"The grid names {name!r}, which is no parameter of the space.",
                f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(SPACE)}.",
            )
        wrong = [value for value in values if not _parameter_holds(SPACE[name], value)]
        if wrong or not values:
            what = f"the value {wrong[0]!r}" if wrong else "no value"
            raise BcdError(f"The grid has {what} of {name}.", f"Use values of {SPACE[name]}.")


def _parameter_holds(values: Whole | Real | tuple[Any, ...], value: Any) -> bool:
    """Whether a parameter takes a value."""
    if isinstance(values, tuple) and not isinstance(values, Whole | Real):
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)
    if isinstance(value, bool | str) or not values.low <= value <= values.high:
        return False
    steps = (value - values.low) / values.step if values.step else 0
    return bool(abs(steps - round(steps)) < 1e-6)


def grid_points(grid: dict[str, list[Any]], preparation: PrepareOptions) -> list[dict[str, Any]]:
    """Returns every different point of a grid; what it does not name is as in the default.

    A value of what another excludes makes no difference: a plain stage has no number of pairs.
    """
    from optuna.trial import FixedTrial

    points = {}
    for values in product(*grid.values()):
        given = dict.fromkeys(("stem_tile", "pairs_1", "pairs_2", "pairs_3"), 2)  # what the default does not ask for
        given |= reference_points(preparation)["compact"] | dict(zip(grid, values, strict=True))
        trial = FixedTrial(given)
        propose(trial, TrainOptions(), preparation)
        points[repr(sorted(trial.params.items()))] = dict(trial.params)
    return list(points.values())


def propose(trial: Trial, training: TrainOptions, preparation: PrepareOptions) -> Recipe:
    """Asks an optuna.Trial for a recipe; what it does not search is as given."""
    stem = _propose_stem(trial)
    stages = _propose_stages(trial)
    head = Head(
        reduce=_ask_trial(trial, "reduce"),
        dense=_ask_trial(trial, "dense"),
        dropout=_ask_trial(trial, "head_dropout"),
    )
    architecture = Architecture(stem=stem, stages=stages, order=_ask_trial(trial, "order"), head=head)
    factors = {
        name: getattr(training, name) * _ask_trial(trial, f"{name}_factor")
        for name in ("learning_rate", "weight_decay", "stain_jitter", "light_jitter")
    }
    bounds = {"learning_rate": 1.0, "weight_decay": 1.0, "stain_jitter": 5.0, "light_jitter": 5.0}
    return Recipe(
        architecture=architecture,
        training=training.model_copy(update={name: min(value, bounds[name]) for name, value in factors.items()}),
        preparation=preparation.model_copy(update={"sharpen": _ask_trial(trial, "sharpen")}),
    )


def _propose_stem(trial: Trial) -> Stem | None:
    kind = _ask_trial(trial, "stem")
    if kind == "none":
        return None
    filters = _ask_trial(trial, "stem_filters")
    if kind == "patchify":
        tile = _ask_trial(trial, "stem_tile")
        return Stem(kind=kind, filters=filters, kernel=tile, stride=tile)
    stride = _ask_trial(trial, "stem_stride") if kind == "strided" else 1
    return Stem(kind=kind, filters=filters, kernel=_ask_trial(trial, "stem_kernel"), stride=stride)


def _propose_stages(trial: Trial) -> list[Stage]:
    filters, growth = _ask_trial(trial, "filters"), _ask_trial(trial, "growth")
    residual, pooling = _ask_trial(trial, "residual"), _ask_trial(trial, "pooling")
    first, later = _ask_trial(trial, "first_dropout"), _ask_trial(trial, "later_dropout")
    return [
        Stage(
            filters=round(filters * growth**index),
            depth=2 * _ask_trial(trial, f"pairs_{index + 1}")
            if residual
            else _ask_trial(trial, f"depth_{index + 1}"),
            residual=residual,
            pooling=pooling,
            dropout=later if index else first,
        )
        for index in range(_ask_trial(trial, "stages"))
    ]


def _ask_trial(trial: Trial, name: str) -> Any:
    values = SPACE[name]
    if isinstance(values, Whole):
        return trial.suggest_int(name, values.low, values.high, step=values.step)
    if isinstance(values, Real):
        value = trial.suggest_float(name, values.low, values.high, step=values.step, log=values.step is None)
        return value if values.step is None else round(value, 2)
    return trial.suggest_categorical(name, list(values))
