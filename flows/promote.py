"""Promote: the gate compares a registered challenger with the champion on the gate patients, and decides.

Example:
    python flows/promote.py
"""

from __future__ import annotations

from prefect import flow

from bcd.registry.gate import GateOptions, Verdict
from bcd.registry.retraining import judge_candidate
from bcd.search.options import SearchOptions
from bcd.training.ensemble import EnsembleOptions
from bcd.training.options import TrainOptions
from flows.reporting import publish_markdown, reporting, run_name
from flows.stages import begin


@flow(name="promote", flow_run_name=run_name)
def promote(
    snapshot: str = "",
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
    ensemble: EnsembleOptions | None = None,
    gate: GateOptions | None = None,
) -> Verdict:
    """Promotes, holds or rejects the bundle of a retraining, and says why.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
        ensemble: How many networks answer together, in how many views; empty: as bcd.toml says.
        gate: Margins of the gate; empty: as bcd.toml says.
    """
    with reporting():
        settings, retraining = begin(snapshot, search=search, training=training, ensemble=ensemble)
        verdict = judge_candidate(settings, retraining, gate or settings.options("gate", GateOptions))
    publish_markdown("gate", verdict.markdown(), f"The gate: {verdict.verdict}")
    return verdict


if __name__ == "__main__":
    promote()
