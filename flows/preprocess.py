"""Preprocess: freeze what is admitted into a snapshot, and prepare its patches once.

Example:
    python flows/preprocess.py
"""

from __future__ import annotations

from prefect import flow

from flows.forms import Splits, Text
from flows.reporting import publish_markdown, reporting, run_name, told
from flows.stages import begin


@flow(name="preprocess", flow_run_name=run_name)
@told
def preprocess(snapshot: Text = "", splits: Splits = None) -> str:
    """Freezes a snapshot, deals the splits of new patients, and prepares the patches.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        splits: How patients are split; empty: as bcd.toml says.
    """
    with reporting():
        settings, retraining = begin(snapshot, splits=splits)
        retraining.prepare(settings)
    frozen = retraining.snapshot
    counts = frozen.counts()
    rows = [f"| {split} | {row.patients} | {row.patches} | {row.positive} |" for split, row in counts.iterrows()]
    publish_markdown(
        "snapshot",
        "\n".join(["| split | patients | patches | IDC |", "| --- | ---: | ---: | ---: |", *rows]),
        f"Snapshot {frozen.id[:12]} under protocol {frozen.protocol}",
    )
    return frozen.id


if __name__ == "__main__":
    preprocess()
