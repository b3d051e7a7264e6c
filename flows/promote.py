"""Promote: the gate compares a registered challenger with the champion on the gate patients, and decides.

Example:
    python flows/promote.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from prefect import flow
from pydantic import Field

from bcd.registry.options import GateOptions
from flows.reporting import publish_markdown, reporting
from flows.stages import Search, SnapshotName, Training, begin

if TYPE_CHECKING:
    from bcd.registry.gate import Verdict

Gate = Annotated[GateOptions | None, Field(description="Margins of the gate; empty: as bcd.toml says.")]


@flow(name="promote")
def promote(
    snapshot: SnapshotName = "", search: Search = None, training: Training = None, gate: Gate = None
) -> Verdict:
    """Promotes, holds or rejects the bundle of a retraining, and says why."""
    from bcd.registry.retraining import judge_candidate

    with reporting():
        settings, retraining = begin(snapshot, search=search, training=training)
        verdict = judge_candidate(settings, retraining, gate or settings.options("gate", GateOptions))
    publish_markdown("gate", verdict.markdown(), f"The gate: {verdict.verdict}")
    return verdict


if __name__ == "__main__":
    promote()
