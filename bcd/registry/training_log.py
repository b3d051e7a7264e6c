"""What a training leaves in its run: every member's curves and best epoch; the first has a single network's names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bcd.registry.run import Run

if TYPE_CHECKING:
    from bcd.training.ensemble import OnMemberEpoch, TrainedEnsemble


def log_epochs_to(run: Run) -> OnMemberEpoch:
    """Returns what logs an epoch of a member as it ends."""
    return partial(_log_epoch, run)


def log_trained(run: Run, trained: TrainedEnsemble) -> None:
    """Logs the curves whole, also where a kill fell between an epoch and its logging, and what was kept of them."""
    for number, member in enumerate(trained.members, 1):
        run.log_history([_name_figures(number, row) for row in member.history])
        best = {"best_epoch": float(member.best_epoch), "best_val_score": member.val_score}
        run.log_metrics(_name_figures(number, best))
    run.log_metrics({"parameters": trained.parameters})


def _log_epoch(run: Run, member: int, epoch: int, row: Mapping[str, float]) -> None:
    run.log_metrics(_name_figures(member, row), step=epoch)


def _name_figures(member: int, figures: Mapping[str, float]) -> dict[str, float]:
    return {name if member == 1 else f"member{member}_{name}": value for name, value in figures.items()}
