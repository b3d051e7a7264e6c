"""Preprocess: freeze what is admitted into a snapshot, write the plan of its retraining, and prepare its patches.

Examples:
        python flows/preprocess.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow

from bcd.config import load_configuration
from bcd.networks.architecture import Architecture
from bcd.preprocessing.options import PrepareOptions
from bcd.progress import say_progress
from bcd.retraining.plan import Plan, write_plan
from bcd.snapshots.freeze import freeze_snapshot, load_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.store import open_store
from bcd.tracking.run import flatten_run_parameters
from flows.forms import Ensemble, Gate, Search, Splits, Text, Training
from flows.reporting import name_flow_run, publish_markdown, report_to_prefect, told_to_prefect


@flow(name="preprocess", flow_run_name=name_flow_run)
@told_to_prefect
def preprocess(
    snapshot: Text = "",
    *,
    splits: Splits = None,
    search: Search = None,
    training: Training = None,
    ensemble: Ensemble = None,
    gate: Gate = None,
    preparation: PrepareOptions | None = None,
    architecture: Architecture | None = None,
) -> str:
    """Freezes a snapshot, deals the splits of new patients, writes the plan and prepares the patches; returns its id.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        splits: How patients are split; empty: as bcd.toml says.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
        ensemble: How many networks answer together, in how many turns; empty: as bcd.toml says.
        gate: Rule and margins of the gate; empty: as bcd.toml says.
        preparation: How patches are prepared; empty: as bcd.toml says.
        architecture: The network to train; empty: what the search chooses.
    """
    settings = load_configuration()
    with report_to_prefect():
        if snapshot:
            frozen = load_snapshot(settings, snapshot)
        else:
            with open_store(settings) as store:
                frozen = freeze_snapshot(store, splits or settings.options("splits", SplitOptions))
        retraining = write_plan(
            settings,
            frozen,
            preparation=preparation,
            search=search,
            training=training,
            ensemble=ensemble,
            gate=gate,
            architecture=architecture,
        )
        say_progress(
            f"Plan {retraining.key} of snapshot {frozen.id[:12]}: {retraining.folder(settings) / 'plan.json'}"
        )
        retraining.prepare(settings)
    rows = [
        f"| {split} | {row.patients} | {row.patches} | {row.positive} |" for split, row in frozen.counts().iterrows()
    ]
    publish_markdown(
        "snapshot",
        "\n".join(["| split | patients | patches | IDC |", "| --- | ---: | ---: | ---: |", *rows]),
        f"Snapshot {frozen.id[:12]} under protocol {frozen.protocol}",
    )
    publish_markdown("plan", _tabulate_plan(retraining.plan), f"Plan {retraining.key}")
    return retraining.key


def _tabulate_plan(plan: Plan) -> str:
    """Returns a table for each part of a plan, as bcd.toml has them."""
    parts = plan.model_dump(mode="json")
    tables = {"": {key: value for key, value in parts.items() if not isinstance(value, dict)}}
    tables |= {key: value for key, value in parts.items() if isinstance(value, dict)}
    lines = []
    for part, values in tables.items():
        rows = [f"| {key} | {value} |" for key, value in flatten_run_parameters("", values).items()]
        lines += [f"## {part}" if part else "", "", "| option | value |", "| --- | --- |", *rows, ""]
    return "\n".join(lines).strip()


if __name__ == "__main__":
    preprocess()
