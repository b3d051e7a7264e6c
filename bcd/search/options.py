"""How far a study goes, and by what it chooses, as options."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bcd.errors import BcdError
from bcd.options import Epochs, Options, Unit
from bcd.search.space import check_grid

POOL = "bcd"
"""Work pool of `bcd up`: its runs take the inbox and leave the reports of that machine."""

_POOL_NAME = "^[A-Za-z0-9-]{0,60}$"


def require_pool_of_others(pool: str) -> None:
    """Makes sure that a work pool may be that of other machines, which do trials and trainings.

    Raises:
        BcdError: It cannot be called so, or is that of `bcd up`, where a search may hold the only place that its
            trials wait for.
    """
    if not (pool and re.fullmatch(_POOL_NAME, pool)):
        raise BcdError(
            f"A work pool cannot be called {pool!r}.", "Name it by up to 60 letters, digits and dashes, such as gpu."
        )
    if pool == POOL:
        raise BcdError(
            f"The work pool {POOL} is that of `bcd up`: its runs take the inbox and leave the reports of that"
            " machine, and a search on it would wait for trials that wait for it.",
            "Name another, such as gpu, in [search] and for `bcd worker --pool gpu`.",
        )


class SearchOptions(Options):
    """How far a study goes; a larger budget continues a finished one.

    Raises:
        BcdError: The grid is no part of the space, it and the sampler do not belong together, or the pool is that of
            the search itself.
    """

    trials: Annotated[int, Unit("trials")] = Field(
        1,
        ge=0,
        le=10_000,
        description="Networks to propose, beside references and what is stated; 0: what `hours` allow, or none.",
    )
    hours: Annotated[float, Unit("hours")] = Field(
        0.0, ge=0, description="Hours of training, of all workers together, after which no trial begins; 0: no limit."
    )
    dissertation: bool = Field(
        True, description="Whether the founding work's network is trained beside `compact`, for comparison."
    )
    epochs: Epochs = Field(2, ge=1, le=1000, description="Epochs of a trial, on a schedule of that length.")
    objective: Literal["score", "score-and-cost"] = Field(
        "score",
        description="The val score alone, or multiply-adds too; two objectives prune no trial.",
    )
    max_parameters: Annotated[int, Unit("weights")] = Field(
        400_000, ge=1000, description="Weights that a proposed network may have."
    )
    max_cost: Annotated[float, Unit("times `compact`")] = Field(
        1.25,
        ge=0.01,
        description="Multiply-adds a patch that it may need, as a multiple of those of `compact`.",
    )
    max_latency: Annotated[float, Unit("times `compact`")] = Field(
        0.0,
        ge=0,
        description="Time of 256 patches that it may need, as a multiple of that of `compact`, on the trial's "
        "machine; 0: no limit, and no time is measured.",
    )
    sampler: Literal["tpe", "random", "grid"] = Field(
        "tpe", description="What is tried: what TPE proposes (Bayesian), what chance does, or every point of `grid`."
    )
    grid: dict[str, list[bool | int | float | str]] = Field(
        {},
        description="Values of each parameter of the space that `sampler` = grid tries, each with each; the others "
        "are those of `compact`.",
    )
    remember: Annotated[int, Unit("trials")] = Field(
        2,
        ge=0,
        le=20,
        description="Best networks of the last study of another snapshot that are tried first, at most half of "
        "`trials`; 0: none.",
    )
    pruning: bool = Field(True, description="Whether trials that lag behind are pruned at an epoch.")
    best: Annotated[int, Unit("trials")] = Field(
        2, ge=0, le=20, description="Trials that are refitted beside the default; 0: none, and the default stays."
    )
    seeds: Annotated[int, Unit("seeds")] = Field(
        3, ge=1, le=20, description="Seeds of each refit; 1: no refit, and seed noise is not checked."
    )
    refit_epochs: Epochs = Field(0, ge=0, le=1000, description="Epochs of a refit; 0: as many as a trial's.")
    seed: int = Field(1, ge=0, le=2**20, description="Seeds what is proposed.")
    study: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,60}$",
        description="Name of the study to begin or to join; empty: named by snapshot and options.",
    )
    workers: Annotated[int, Unit("processes")] = Field(
        1, ge=1, le=256, exclude=True, description="Trials at a time: processes of this machine, or runs on `pool`."
    )
    pool: str = Field(
        "",
        pattern=_POOL_NAME,
        exclude=True,
        description="Work pool whose machines do trials and refits, and train the networks of an ensemble, as "
        "Prefect runs; empty: this machine does.",
    )
    heartbeat_seconds: Annotated[int, Unit("seconds")] = Field(
        60, ge=1, le=3600, exclude=True, description="A trial elsewhere without three heartbeats is given to another."
    )

    @model_validator(mode="after")
    def _has_its_grid(self) -> SearchOptions:
        if (self.sampler == "grid") != bool(self.grid):
            raise BcdError(
                f"The sampler is {self.sampler}, and {'a' if self.grid else 'no'} grid is given.",
                'Give values of at least one parameter with `sampler = "grid"`, and none with another sampler.',
            )
        check_grid(self.grid)
        return self

    @model_validator(mode="after")
    def _waits_for_others(self) -> SearchOptions:
        if self.pool:
            require_pool_of_others(self.pool)
        return self

    @property
    def proposes(self) -> bool:
        """Whether anything is tried beside references and what is stated."""
        return self.sampler != "grid" and bool(self.trials or self.hours)

    def identity(self) -> dict[str, Any]:
        """Returns the options that make the study what it is; the others say how far it goes and who works."""
        budget = {"trials", "hours", "dissertation", "best", "seeds", "refit_epochs", "study", "remember"}
        return self.model_dump(mode="json", exclude=budget)
