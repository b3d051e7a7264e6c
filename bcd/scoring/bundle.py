"""What scoring asks of a bundle, wherever it lies; `bcd.bundle` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.drift.state import Known
    from bcd.evaluation.policy.policy import Policy
    from bcd.patches import SnapshotId


class SeenPatients(Protocol):
    """Who a bundle was trained on, as `bcd.bundle.seen` keeps it."""

    def find(self, patches: pd.DataFrame) -> list[str]:
        """Returns the patients that it knows."""
        ...

    def find_pixels(self, patches: pd.DataFrame) -> NDArray[np.bool_]:
        """Tells which patches have the pixels of one that it knows."""
        ...

    def knows_name(self, patient: str) -> bool:
        """Whether a patient of any hospital has this identifier."""
        ...


class MeasuredDistance(Protocol):
    """How far patches lie from those that a bundle was trained on, as `bcd.bundle.distance` measures it."""

    def warnings(self) -> list[str]:
        """Says what of the patches is far from those learned from."""
        ...

    def require_raw(self, name: str, *, tiled: bool = False) -> None:
        """Refuses patches that are not as they were cut."""
        ...


class ScoringRecord(Protocol):
    """What scoring reads of a bundle's record.

    Attributes:
        policy: What makes probabilities and thresholds of logits.
        snapshot: Id of the snapshot that it was trained on.
        protocol: How that snapshot's patients were split.
        origin: `released`, where it came with bcd.
        created_at: When it was made.
    """

    @property
    def policy(self) -> Policy: ...  # noqa: D102
    @property
    def snapshot(self) -> SnapshotId: ...  # noqa: D102
    @property
    def protocol(self) -> str: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102


class ScoringBundle(Protocol):
    """What scores.

    Attributes:
        name: What it is called, such as `bcd-idc/3`.
        record: Its record.
        known: The patients with whom drift is found; None where its record holds none.
        seen: Who it was trained on, of a bundle that came from elsewhere; None: its snapshot says it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def record(self) -> ScoringRecord: ...  # noqa: D102
    @property
    def known(self) -> Known | None: ...  # noqa: D102
    @property
    def seen(self) -> SeenPatients | None: ...  # noqa: D102

    def score(self, pixels: NDArray[np.uint8], *, spread: bool = False) -> pd.DataFrame:
        """Scores raw patches: logit, probability, confident_* by level, and spread if asked for, a row a patch."""
        ...

    def measure(self, pixels: NDArray[np.uint8]) -> MeasuredDistance | None:
        """Measures how far patches lie from those that it was trained on; None where it cannot say."""
        ...
