"""The record of a bundle: everything about it but the weights, as one JSON file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bcd.bundle.engine import EngineRecord
from bcd.bundle.reference import ReferenceStatistics
from bcd.drift.state import Known
from bcd.errors import DamagedError
from bcd.evaluation.policy.policy import Policy
from bcd.networks.architecture import Architecture
from bcd.patches import SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.training.options import SINGLE, EnsembleOptions, TrainOptions
from bcd.versions import git_commit, package_versions


class BundleRecord(BaseModel):
    """What a bundle is made of, and where it comes from.

    Attributes:
        preparation: How raw patches are prepared for the network.
        architecture: The network's description, the same of every member.
        training: How it was trained, with the seed of the first member.
        ensemble: How many networks answer together, and in how many turns.
        engine: What scores with its networks.
        policy: Calibrator, confidence levels and certified thresholds, of val patients.
        snapshot: Id of the snapshot that it was trained on.
        protocol: How that snapshot's patients were split.
        metrics: Headline metrics on the test split, flat.
        reference: Statistics of what it was trained and calibrated on; None where none were taken.
        origin: Whether a retraining of this home made it, or it came released with bcd.
        versions: Installed packages when it was made.
        git: Commit of the code that made it, where known.
        created_at: When it was made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preparation: PrepareOptions
    architecture: Architecture
    training: TrainOptions
    ensemble: EnsembleOptions = SINGLE
    engine: EngineRecord
    policy: Policy
    snapshot: SnapshotId
    protocol: str
    metrics: dict[str, float]
    reference: ReferenceStatistics | None = None
    origin: Literal["retraining", "released"] = "retraining"
    versions: dict[str, str] = Field(default_factory=package_versions)
    git: str | None = Field(default_factory=git_commit)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def known(self) -> Known | None:
        """The patients with whom drift is found; None where it holds none."""
        return None if self.reference is None else self.reference.known


def read_record(path: Path) -> BundleRecord:
    """Reads the record of a bundle.

    Raises:
        DamagedError: Another version of bcd made the bundle, and prepares patches or describes networks otherwise.
    """
    try:
        return BundleRecord.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DamagedError(
            f"This version of bcd cannot use the bundle: {faults}.",
            "Install the version that its record names, or retrain.",
        ) from error
