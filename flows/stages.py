"""What every stage of a retraining begins with: the settings, the snapshot that is meant, and the plan."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bcd.registry.retraining import Retraining, plan_retraining
from bcd.search.options import SearchOptions
from bcd.settings import Settings, load_settings
from bcd.store.catalog import open_catalog
from bcd.store.options import SplitOptions
from bcd.store.snapshots import freeze_snapshot, load_snapshot
from bcd.training.options import TrainOptions

SnapshotName = Annotated[
    str, Field(description="Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.")
]
Splits = Annotated[SplitOptions | None, Field(description="How patients are split; empty: as bcd.toml says.")]
Search = Annotated[SearchOptions | None, Field(description="How far the study goes; empty: as bcd.toml says.")]
Training = Annotated[TrainOptions | None, Field(description="How networks are trained; empty: as bcd.toml says.")]


def begin(
    snapshot: str,
    *,
    splits: SplitOptions | None = None,
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
) -> tuple[Settings, Retraining]:
    """Returns the settings and the retraining that a stage belongs to."""
    settings = load_settings()
    if snapshot:
        frozen = load_snapshot(settings, snapshot)
    else:
        splits = splits or settings.options("splits", SplitOptions)
        frozen = freeze_snapshot(settings, open_catalog(settings), splits)
    return settings, plan_retraining(settings, frozen, search=search, training=training)
