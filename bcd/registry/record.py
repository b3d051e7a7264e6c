"""The record of a bundle: everything about it but the weights, as one JSON file."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from bcd.evaluation.policy import Policy
from bcd.networks.architecture import Architecture
from bcd.preprocessing.options import PrepareOptions
from bcd.registry.versions import git_commit, package_versions
from bcd.training.options import TrainOptions


class BundleRecord(BaseModel):
    """What a bundle is made of, and where it comes from.

    Attributes:
        preparation: How raw patches are prepared for the network.
        architecture: The network's description.
        training: How it was trained, with its seed.
        policy: Calibrator and levels, fitted on val patients.
        snapshot: Id of the snapshot that it was trained on.
        protocol: How that snapshot's patients were split.
        metrics: Headline metrics on the test split, flat.
        versions: Installed packages when it was made.
        git: Commit of the code that made it, where known.
        created_at: When it was made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preparation: PrepareOptions
    architecture: Architecture
    training: TrainOptions
    policy: Policy
    snapshot: str
    protocol: str
    metrics: dict[str, float]
    versions: dict[str, str] = Field(default_factory=package_versions)
    git: str | None = Field(default_factory=git_commit)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
