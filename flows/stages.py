"""What every stage of a retraining begins with: the settings, and the plan with its snapshot."""

from __future__ import annotations

from bcd.config import load_configuration
from bcd.retraining.plan import Retraining, read_plan
from bcd.settings import Settings


def begin_stage_flow(plan: str, *, workers: int = 0) -> tuple[Settings, Retraining]:
    """Returns the settings and the retraining that a stage belongs to; no plan: the one that was written last."""
    settings = load_configuration()
    return settings, read_plan(settings, plan, workers=workers)
