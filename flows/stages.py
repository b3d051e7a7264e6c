"""What every stage of a retraining begins with: the settings, the snapshot that is meant, and the plan."""

from __future__ import annotations

from bcd.config import load_configuration
from bcd.networks.architecture import Architecture
from bcd.registry.plan import Retraining, plan_retraining
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.store.catalog import open_catalog
from bcd.store.options import SplitOptions
from bcd.store.snapshots import freeze_snapshot, load_snapshot
from bcd.training.options import EnsembleOptions, TrainOptions


def begin(
    snapshot: str,
    *,
    splits: SplitOptions | None = None,
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
    ensemble: EnsembleOptions | None = None,
    architecture: Architecture | None = None,
) -> tuple[Settings, Retraining]:
    """Returns the settings and the retraining that a stage belongs to."""
    settings = load_configuration()
    if snapshot:
        frozen = load_snapshot(settings, snapshot)
    else:
        splits = splits or settings.options("splits", SplitOptions)
        frozen = freeze_snapshot(settings, open_catalog(settings), splits)
    plan = plan_retraining(
        settings, frozen, search=search, training=training, ensemble=ensemble, architecture=architecture
    )
    return settings, plan
