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
    return _find_recorded(store)[0]


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
    from bcd.bundle.registry import read_bundle

    anchor, gone = _find_recorded(store)
    note = f"{MODEL}/{gone} was the anchor and is no longer in the registry." if gone else ""
    if anchor is None or champion is None or anchor == champion:
        return anchor or champion, note
    bundle, gate = read_bundle(store.settings, anchor), snapshot.of("gate")
    seen = find_seen_by_bundle(store.settings, bundle).find(gate)
    left = patient_keys(gate).nunique() - len(seen)
    if not seen or (bundle.seen is not None and left >= options.min_patients):
        return anchor, note
    return champion, (
        f"{MODEL}/{anchor} was the anchor and was trained on {len(seen)} of the gate patients of now: the champion,"
        f" {MODEL}/{champion}, takes its place."
    )


def _find_recorded(store: Store) -> tuple[str | None, str | None]:
    """Returns the last recorded anchor that is in the registry, and the last one of all if it is not."""
    rows = {row.version: row for row in read_registered_versions(store.settings)}
    recorded = [one for one in reversed(list_stored_decisions(store)) if one.anchor is not None]
    found = next((one.anchor for one in recorded if _is_there(rows, one.evidence["anchor"])), None)
    is_gone = bool(recorded) and not _is_there(rows, recorded[0].evidence["anchor"])
    return found, recorded[0].anchor if is_gone else None


def _is_there(rows: dict[str, VersionRow], known: dict[str, Any]) -> bool:
    row = rows.get(known["version"])
    return row is not None and (row.tags.get(KEY_TAG), row.source) == (known["bundle"], known["model"])
