"""The versions in the registry, with what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bcd.registry.bundle import MODEL, resolve_version
from bcd.registry.tracking import KEY_TAG, open_client
from bcd.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class VersionSummary:
    """One version of `bcd-idc`.

    Attributes:
        version: Its number.
        registered_at: When it was registered.
        aliases: `champion`, `previous`, `challenger`, where it holds them.
        verdict: PROMOTE, HOLD or REJECT; None: the gate has not judged it.
        reasons: Why.
        snapshot: Id of the snapshot that it was trained on.
        protocol: How that snapshot was split.
        metrics: Headline metrics on the test split.
        description: One sentence about it.
        key: What it was registered for.
        run_id: The run that it comes from.
    """

    version: str
    registered_at: datetime
    aliases: list[str]
    verdict: str | None
    reasons: str
    snapshot: str
    protocol: str
    metrics: dict[str, float]
    description: str
    key: str
    run_id: str

    @property
    def name(self) -> str:
        """How it is called everywhere, such as `bcd-idc/3`."""
        return f"{MODEL}/{self.version}"


def champion_version(settings: Settings) -> str | None:
    """Returns the champion's version; None if there is no champion."""
    return resolve_version(open_client(settings), "champion")


def list_versions(settings: Settings) -> list[VersionSummary]:
    """Lists the versions, oldest first."""
    client = open_client(settings)
    models = client.search_registered_models(f"name = '{MODEL}'")
    aliases = models[0].aliases if models else {}
    versions = client.search_model_versions(f"name = '{MODEL}'", max_results=1000)
    return [
        VersionSummary(
            version=str(found.version),
            registered_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            aliases=sorted(alias for alias, version in aliases.items() if str(version) == str(found.version)),
            verdict=found.tags.get("bcd.verdict"),
            reasons=found.tags.get("bcd.reasons", ""),
            snapshot=found.tags.get("bcd.snapshot", ""),
            protocol=found.tags.get("bcd.protocol", ""),
            metrics=_metrics(client, found.source),
            description=found.description or "",
            key=found.tags.get(KEY_TAG, ""),
            run_id=found.run_id or "",
        )
        for found in sorted(versions, key=lambda found: int(found.version))
    ]


def _metrics(client: MlflowClient, source: str) -> dict[str, float]:
    logged = client.get_logged_model(source.removeprefix("models:/"))
    return {metric.key: float(metric.value) for metric in logged.metrics or []}
