"""Trials: a machine joins a study that was begun elsewhere, and does a part of it, a trial at a time.

A search starts such runs where `[search] pool` names a work pool; a person may start one more from the dashboard.
"""

from __future__ import annotations

from typing import Annotated

from prefect import flow, runtime
from pydantic import Field

from bcd.config import load_configuration
from bcd.search.job import Part
from bcd.search.study import join_study
from flows.forms import Text
from flows.reporting import publish_markdown, report_to_prefect, told_to_prefect
from flows.search import tabulate_trials


def _name_run() -> str:
    given = runtime.flow_run.parameters
    return f"{given.get('part')} of {given.get('study')}"


@flow(name="trials", flow_run_name=_name_run)
@told_to_prefect
def trials(
    study: Text,
    *,
    part: Part = "trials",
    trials: Annotated[int, Field(ge=0, le=10_000)] = 0,
    hours: Annotated[float, Field(ge=0, le=10_000)] = 0.0,
    heartbeat_seconds: Annotated[int, Field(ge=1, le=3600)] = 60,
) -> None:
    """Does trials or refits of a study until none is left, each in a process of its own.

    Args:
        study: The study's name, as Optuna's page shows it.
        part: What of it is done: references, trials, or refits of the best.
        trials: How many networks the study proposes in all; 0: what the hours allow.
        hours: Hours of training of all workers together, after which no trial begins; 0: no limit.
        heartbeat_seconds: A trial without three heartbeats is given to another worker.
    """
    settings = load_configuration()
    with report_to_prefect():
        known = join_study(settings, study, part, trials=trials, hours=hours, heartbeat_seconds=heartbeat_seconds)
    publish_markdown("study-so-far", tabulate_trials(known), f"The trials of {study} that have ended, on any machine")
