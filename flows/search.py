"""Search: an Optuna study over architectures on one snapshot.

Example:
    python flows/search.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from bcd.registry.retraining import search_architecture
from flows.reporting import publish_markdown, reporting
from flows.stages import Search, SnapshotName, Training, begin

if TYPE_CHECKING:
    from bcd.search.records import StudyResult


@flow(name="search", validate_parameters=True)
def search(snapshot: SnapshotName = "", options: Search = None, training: Training = None) -> StudyResult:
    """Searches for the architecture on train and val patients; trial 0 is the default."""
    with reporting():
        settings, retraining = begin(snapshot, search=options, training=training)
        result = search_architecture(settings, retraining)
    values = ["" if trial.value is None else f"{trial.value:.3f}" for trial in result.trials]
    rows = [
        f"| {trial.number} | {trial.state} | {value} | {trial.parameters:,} |"
        for trial, value in zip(result.trials, values, strict=True)
    ]
    publish_markdown(
        "study",
        "\n".join(
            [
                result.note,
                "",
                "| trial | end | AUROC on val | parameters |",
                "| --- | --- | ---: | ---: |",
                *rows,
            ]
        ),
        f"Study {result.study}",
    )
    return result


if __name__ == "__main__":
    search()
