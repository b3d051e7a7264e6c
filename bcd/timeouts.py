"""After how long a run of each flow is ended: the table `[timeouts]` of bcd.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bcd.options import Options, Unit

Hours = Annotated[float, Unit("hours")]
_MOST = 10_000


class TimeoutOptions(Options):
    """After how long a run that `bcd up` started is ended; what it did is kept, and the next run goes on."""

    ingest: Hours = Field(24, gt=0, le=_MOST, description="Admitting what one run takes.")
    retrain: Hours = Field(168, gt=0, le=_MOST, description="A retraining from snapshot to verdict.")
    search: Hours = Field(168, gt=0, le=_MOST, description="A search that was started by itself.")
    train: Hours = Field(72, gt=0, le=_MOST, description="A training that was started by itself.")
    evaluate: Hours = Field(24, gt=0, le=_MOST, description="An evaluation that was started by itself.")
    promote: Hours = Field(24, gt=0, le=_MOST, description="A decision of the gate that was started by itself.")
    trials: Hours = Field(168, gt=0, le=_MOST, description="What one run does of a study that was begun elsewhere.")
    member: Hours = Field(72, gt=0, le=_MOST, description="Training one network of an ensemble.")
    approve: Hours = Field(
        1, gt=0, le=_MOST, description="Asking, and recording the answer; the wait is not counted."
    )
    reconcile: Hours = Field(24, gt=0, le=_MOST, description="Going on with what was left undone.")
    score: Hours = Field(48, gt=0, le=_MOST, description="Scoring the patients of one run.")
    monitor: Hours = Field(12, gt=0, le=_MOST, description="Comparing deliveries with the champion's patients.")
    backup: Hours = Field(24, gt=0, le=_MOST, description="A backup.")
