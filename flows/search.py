"""Search: an Optuna study over architectures on one snapshot.

Example:
    python flows/search.py
"""

from __future__ import annotations

from prefect import flow

from bcd.registry.retraining import search_architecture
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult
from bcd.training.options import TrainOptions
from flows.reporting import publish_markdown, reporting, run_name
from flows.stages import begin


@flow(name="search", flow_run_name=run_name)
def search(
    snapshot: str = "", options: SearchOptions | None = None, training: TrainOptions | None = None
) -> StudyResult:
    """Searches for the architecture on train and val patients; trial 0 is the default.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        options: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
    """
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
