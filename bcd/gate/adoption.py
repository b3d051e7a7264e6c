"""The released model becomes the first champion of a home: a hospital's own first network meets an incumbent.

It is registered with its card and its origin; a person's sign-off makes it champion. Killed between any two steps,
the same command ends as if it had not been.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bcd.bundle.aliases import (
    find_lost_champion_alias,
    finish_moving_aliases,
    identify_version,
    is_about_version,
    last_alias_decision,
    move_registry_aliases,
    tell_lost_champion_alias,
)
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.registry import Bundle, load_bundle, read_bundle, register_bundle, require_bundle_scores
from bcd.bundle.released import RELEASED, digest_released, load_released
from bcd.bundle.released.card import write_released_card
from bcd.bundle.rows import read_registered_versions
from bcd.bundle.scorer import GRAPH_FOLDER, list_bundle_networks
from bcd.bundle.seen import find_seen_by_bundle
from bcd.errors import BcdError
from bcd.gate.anchor import find_anchor, record_anchor
from bcd.gate.approvers import require_approver
from bcd.gate.promotion import LOCK
from bcd.patches import SnapshotId
from bcd.store.decisions import Decision, store_decision
from bcd.tracking.lookup import MODEL, find_mlflow_version, find_tracked_version
from bcd.tracking.store import open_mlflow_client, start_run

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import Store


def make_released_champion(store: Store, sign_off: SignOff) -> Decision:
    """Registers the released model and makes it champion of a home that has none.

    Raises:
        BcdError: There is a champion, or was one whose alias was deleted; this copy of bcd holds no such model; or
            the person may not sign.
    """
    settings = store.settings
    require_approver(settings, sign_off)
    client = open_mlflow_client(settings)
    with store.lock(LOCK) as confirm:
        finish_moving_aliases(client, store)
        last = last_alias_decision(store)
        repeated = last is not None and (last.kind, last.sign_off) == ("adopted", sign_off)
        if last is not None and repeated and is_about_version(client, last):
            return last
        champion = find_mlflow_version(client, "champion")
        if champion is not None:
            raise BcdError(
                f"{MODEL}/{champion} is champion, and the released model is a first champion only.",
                "`bcd evaluate --model released` compares it with the champion; `bcd retrain` makes a challenger.",
            )
        lost = find_lost_champion_alias(read_registered_versions(settings), store)
        if lost is not None:
            raise BcdError(*tell_lost_champion_alias(lost))
        bundle = _register_released(settings, sign_off)
        require_bundle_scores(bundle)
        decision = Decision(
            key=f"adopted/{identify_version(client, bundle.version)['model'].removeprefix('models:/')}",
            decided_at=datetime.now(UTC),
            verdict="PROMOTE",
            challenger=bundle.version,
            champion=None,
            snapshot=SnapshotId(bundle.record.snapshot),
            reasons=[f"{sign_off.by} adopted the released model: {sign_off.reason.rstrip('.')}."],
            evidence=identify_version(client, bundle.version)
            | record_anchor(client, find_anchor(store) or bundle.version),
            kind="adopted",
            sign_off=sign_off,
        )
        confirm()
        store_decision(store, decision)
        move_registry_aliases(client, decision)
    return decision


def find_adopted_patients(store: Store, version: str) -> list[str]:
    """Returns the labelled patients who are among those that a version was trained on, as `hospital/patient`."""
    from bcd.snapshots.freeze import preview_snapshot

    bundle = read_bundle(store.settings, version)
    return find_seen_by_bundle(store.settings, bundle).find(preview_snapshot(store))


def _register_released(settings: Settings, sign_off: SignOff) -> Bundle:
    """Registers the released model, or finds it registered."""
    key = f"{RELEASED}/{digest_released()}"
    version = find_tracked_version(open_mlflow_client(settings), key)
    if version is not None:
        return load_bundle(settings, version)
    released = load_released()
    with start_run(settings, key=key, name="the released model", kind="adopt") as run:
        run.set_tags({"bcd.origin": RELEASED, "bcd.by": sign_off.by})
        run.describe(sign_off.reason)
        return register_bundle(
            settings,
            key=key,
            run_id=run.id,
            networks=list_bundle_networks(released.folder),
            graph=released.folder / GRAPH_FOLDER,
            record=released.record,
            example=draw_tissue_probes(2),
            card=write_released_card(),
            seen=released.seen,
        )
