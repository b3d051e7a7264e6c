"""The versions in the registry with what became of each, and the story of all decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bcd.registry.aliases import is_about
from bcd.registry.lookup import KEY_TAG, MODEL, resolve_version
from bcd.registry.tracking import open_client
from bcd.settings import Settings
from bcd.store.decisions import Decision, list_decisions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.store.catalog import Catalog


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


@dataclass(frozen=True)
class Chapter:
    """One thing that happened to a version.

    Attributes:
        at: When, in UTC.
        version: The version, such as `bcd-idc/3`.
        what: `registered`, or the kind of the decision.
        verdict: PROMOTE, HOLD, REJECT or LOOK; empty where it was registered.
        against: The version that it was compared with or took the place of.
        by: Who decided: a person, or `the gate`.
        why: The reasons, in sentences.
        is_gone: Whether that bundle is no longer in the registry, even if another one has its number.
    """

    at: datetime
    version: str
    what: str
    verdict: str
    against: str
    by: str
    why: list[str]
    is_gone: bool


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
            description=(found.description or "").partition("\n")[0],
            key=found.tags.get(KEY_TAG, ""),
            run_id=found.run_id or "",
        )
        for found in sorted(versions, key=lambda found: int(found.version))
    ]


def _metrics(client: MlflowClient, source: str) -> dict[str, float]:
    logged = client.get_logged_model(source.removeprefix("models:/"))
    return {metric.key: float(metric.value) for metric in logged.metrics or []}


def tell_story(settings: Settings, catalog: Catalog) -> list[Chapter]:
    """Tells what happened to all versions, oldest first: when each was registered, and every decision with reasons.

    What was decided about versions that are gone is told too: the catalog forgets nothing.
    """
    versions, client = list_versions(settings), open_client(settings)
    chapters = [
        Chapter(one.registered_at, one.name, "registered", "", "", "", [one.description], is_gone=False)
        for one in versions
    ]
    chapters += [_chapter(decision, is_gone=not is_about(client, decision)) for decision in list_decisions(catalog)]
    return sorted(chapters, key=lambda chapter: chapter.at)


def _chapter(decision: Decision, *, is_gone: bool) -> Chapter:
    return Chapter(
        at=decision.decided_at,
        version=f"{MODEL}/{decision.challenger}",
        what="awaits approval" if decision.awaits_approval else decision.kind,
        verdict=decision.verdict,
        against=f"{MODEL}/{decision.champion}" if decision.champion else "",
        by=decision.by or "the gate",
        why=decision.reasons,
        is_gone=is_gone,
    )
