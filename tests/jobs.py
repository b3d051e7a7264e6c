"""Jobs of workers, of a study that was begun nowhere."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bcd.patches import SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.search.job import Job, make_search_job
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.training.options import TrainOptions


def make_job(settings: Settings, **options: Any) -> Job:
    """Makes a job of the study a-study, with these of the options of a search."""
    return make_search_job(
        settings,
        "a-study",
        snapshot=Snapshot(SnapshotId("f" * 64), "dealt", pd.DataFrame()),
        preparation=PrepareOptions(),
        training=TrainOptions(),
        options=SearchOptions(**options),
    )
