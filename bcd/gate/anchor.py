"""The anchor: the best champion so far that was shown to be better, whom every challenger is compared with too.

Were a challenger compared with the champion alone, each might be a little worse than the last, and nobody would see
how far they had gone. The anchor stays where it is until a version is shown to be better than it: the first champion
of a home, that is, until then. Every decision about aliases records which version is anchor from then on, so that one
transaction promotes and moves the anchor; the alias `anchor` in the registry only shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bcd.bundle.aliases import identify_version
from bcd.bundle.rows import VersionRow, read_registered_versions
from bcd.bundle.seen import find_seen_by_bundle
from bcd.patches import patient_keys
from bcd.store.decisions import list_stored_decisions
from bcd.tracking.lookup import KEY_TAG, MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.gate.options import GateOptions
    from bcd.snapshots.freeze import Snapshot
    from bcd.store.store import Store


def find_anchor(store: Store) -> str | None:
    """Returns the version that is anchor by the catalog; None where none was recorded, or all that were are gone."""
    rows = {row.version: row for row in read_registered_versions(store.settings)}
    for decision in reversed(list_stored_decisions(store)):
        if decision.anchor is not None and _is_there(rows, decision.evidence["anchor"]):
            return decision.anchor
    return None


def record_anchor(client: MlflowClient, version: str) -> dict[str, Any]:
    """Returns what a decision records of the version that is anchor from then on."""
    return {"anchor": {"version": version, **identify_version(client, version)}}


def choose_anchor(
    store: Store, snapshot: Snapshot, champion: str | None, options: GateOptions
) -> tuple[str | None, str]:
    """Returns whom the challenger is compared with beside the champion.

    That is the anchor of the catalog, or the champion where there is none. An anchor that was trained on so many of
    the gate patients that it cannot be compared on them gives its place to the champion.

    Returns:
        The version, None where there is neither anchor nor champion; and why it is not the one that was anchor.
    """
    from bcd.bundle.registry import load_bundle

    anchor = find_anchor(store)
    if anchor is None or champion is None or anchor == champion:
        return anchor or champion, ""
    bundle, gate = load_bundle(store.settings, anchor), snapshot.of("gate")
    seen = find_seen_by_bundle(store.settings, bundle).find(gate)
    left = patient_keys(gate).nunique() - len(seen)
    if not seen or (bundle.seen is not None and left >= options.min_patients):
        return anchor, ""
    return champion, (
        f"{MODEL}/{anchor} was the anchor and was trained on {len(seen)} of the gate patients of now: the champion,"
        f" {MODEL}/{champion}, takes its place."
    )


def _is_there(rows: dict[str, VersionRow], known: dict[str, Any]) -> bool:
    row = rows.get(known["version"])
    return row is not None and (row.tags.get(KEY_TAG), row.source) == (known["bundle"], known["model"])
