"""Retention: old versions go, with their files, and nothing that an alias, a ledger or the last n versions need.

A version stays if it

- is one of the last n,
- holds an alias (`champion`, `previous`, `challenger`, `anchor`, or one of a person's own),
- scored a patient: the scoring ledger names it, and its scores must be explicable,
- is the gate's anchor, whatever its alias says,
- awaits a person's approval, or is part of the last decision.

What goes is what it scored in shadow, the version and the files of its model; the run that it came from, and every
decision about it, stay. Each step may be repeated: a model is marked before its version goes, and a marked one
without a version is finished by the next run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bcd.bundle.aliases import last_alias_decision
from bcd.gate.anchor import find_anchor
from bcd.gate.history import list_versions_with_verdicts
from bcd.gate.overrides import find_awaiting_sign_off
from bcd.gate.promotion import LOCK as PROMOTION
from bcd.progress import track_progress
from bcd.retention import LOCK
from bcd.scoring.shadow import remove_shadow
from bcd.store.ledger import list_ledger
from bcd.tracking.lookup import KEY_TAG, MODEL
from bcd.tracking.store import experiment_id, lock_mlflow, open_mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.gate.history import VersionSummary
    from bcd.store.store import Store

REMOVED_TAG = "bcd.removed"


@dataclass(frozen=True)
class Retention:
    """What becomes of one version.

    Attributes:
        version: Such as `bcd-idc/3`.
        kept_for: Why it stays; empty: it goes.
        size: Bytes of its files; 0 where they lie behind a server.
    """

    version: str
    kept_for: list[str]
    size: int


def prune_versions(store: Store, *, keep: int, dry_run: bool = False) -> list[Retention]:
    """Removes the versions that nothing needs, and says of each what becomes of it.

    Args:
        store: Knows the ledger and the decisions.
        keep: The last so many versions stay.
        dry_run: Whether to say only what would be done.
    """
    client = open_mlflow_client(store.settings)
    # Nobody promotes or registers meanwhile.
    with store.lock(LOCK), store.lock(PROMOTION), lock_mlflow(store.settings):
        versions = list_versions_with_verdicts(store.settings)
        needs = _find_needs(store, versions, keep)
        found = [Retention(one.name, needs[one.version], _size_of(client, one)) for one in versions]
        if not dry_run:
            going = [one for one in versions if not needs[one.version]]
            with track_progress("Removing old versions", total=len(going)) as advance:
                for one in going:
                    remove_shadow(store.settings, one.name)
                    _remove_version(client, one)
                    advance(1)
            _finish_removals(client)
    return found


def _find_needs(store: Store, versions: list[VersionSummary], keep: int) -> dict[str, list[str]]:
    scored = {entry.bundle for entry in list_ledger(store)}
    last = last_alias_decision(store)
    decided = {last.challenger, last.champion} if last is not None else set()
    newest = {one.version for one in versions[len(versions) - keep :]} if keep else set()
    anchor = find_anchor(store)
    needs: dict[str, list[str]] = {}
    for one in versions:
        why = [f"alias {alias}" for alias in one.aliases]
        why += [f"one of the last {keep}"] * (one.version in newest)
        why += ["patients were scored with it"] * (one.name in scored)
        why += ["the anchor of the gate"] * (one.version == anchor and "anchor" not in one.aliases)
        why += ["the last decision"] * (one.version in decided)
        why += ["awaits approval"] * (find_awaiting_sign_off(store, one.version) is not None)
        needs[one.version] = why
    return needs


def _remove_version(client: MlflowClient, version: VersionSummary) -> None:
    """Marks the model, forgets what finds it again, and takes the version out of the registry."""
    model_id = _model_of(client, version)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_logged_model_tags(model_id, {REMOVED_TAG: now})
    # The same retraining must register anew rather than take up a model whose files are going.
    if KEY_TAG in client.get_logged_model(model_id).tags:
        client.delete_logged_model_tag(model_id, KEY_TAG)
    if version.run_id:
        client.set_tag(version.run_id, "bcd.removed_version", f"{version.name} on {now}")
    client.delete_model_version(MODEL, version.version)


def _finish_removals(client: MlflowClient) -> None:
    """Deletes the files of marked models that no version is made of."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    used = {found.source for found in client.search_model_versions(f"name = '{MODEL}'", max_results=1000)}
    ours = client.search_logged_models([experiment_id(client)], f"name = '{MODEL}'", max_results=1000)
    for model in ours:
        if REMOVED_TAG in model.tags and f"models:/{model.model_id}" not in used:
            get_artifact_repository(model.artifact_location).delete_artifacts()
            client.delete_logged_model(model.model_id)


def _model_of(client: MlflowClient, version: VersionSummary) -> str:
    # Of the version's source: its field model_id is empty on a store in SQL.
    return str(client.get_model_version(MODEL, version.version).source).removeprefix("models:/")


def _size_of(client: MlflowClient, version: VersionSummary) -> int:
    location = str(client.get_logged_model(_model_of(client, version)).artifact_location)
    folder = Path(url2pathname(urlsplit(location).path))
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
