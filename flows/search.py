"""Search: an Optuna study over networks and their training on one snapshot.

Examples:
        python flows/search.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow
from pydantic import Field

from bcd.formats import format_difference
from bcd.networks.architecture import Architecture
from bcd.retraining.stages import search_stage
from bcd.search.records import StudyResult, TrialRecord
from bcd.store.objects import require
from bcd.tracking.view import find_view_page
from flows.elsewhere import work_elsewhere
from flows.forms import Text
from flows.limits import TRAINING, hold_slot
from flows.reporting import name_flow_run, publish_markdown, publish_picture, report_to_prefect, told_to_prefect
from flows.stages import begin_stage_flow


@flow(name="search", flow_run_name=name_flow_run)
@told_to_prefect
def search(
    plan: Text = "",
    workers: Annotated[int, Field(ge=0, le=256)] = 0,
    architectures: dict[str, Architecture] | None = None,
) -> StudyResult:
    """Searches on train and val patients for what is better than the default by more than chance.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
        workers: Trials at a time, on this machine or on the pool of [search]; 0: as bcd.toml says.
        architectures: Networks of your own to try too, each under a name, written as docs/reference/architecture.md
            says.
    """
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan, workers=workers)
        elsewhere = work_elsewhere if retraining.plan.search.pool else None
        with hold_slot(TRAINING):
            result = search_stage(settings, retraining, architectures, elsewhere)
    compared = find_view_page(settings, "trials-compared")
    link = f"\n\n[All trials compared in MLflow]({compared})" if compared else ""
    publish_markdown("study", describe_study_artifact(result) + link, f"Study {result.study}")
    pictures = require(settings, settings.work / result.study / "pictures")
    for name in ("history", "learning-curves"):
        publish_picture(f"study-{name}", pictures / f"{name}.png", f"Study: {name}")
    return result


def describe_study_artifact(study: StudyResult) -> str:
    """Returns the verdict, the refits and the trials of a study as Markdown."""
    gains = [f"| {gain.trial} | {format_difference(gain)} |" for gain in study.gains]
    refits = ["| refitted trial | gain |", "| --- | --- |", *gains, ""] if gains else []
    return "\n".join([study.note, "", *refits, tabulate_trials(study.trials)])


def tabulate_trials(trials: Sequence[TrialRecord]) -> str:
    """Returns a row of Markdown for each trial that was trained."""
    rows = [
        f"| {trial.name} | {trial.state} | {'' if trial.value is None else f'{trial.value:.3f}'} "
        f"| {trial.parameters:,} | {trial.multiply_adds / 1e6:.1f} |"
        for trial in trials
        if trial.state != "too large"
    ]
    head = ["| trial | end | val score | parameters | million multiply-adds |", "| --- | --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    search()
