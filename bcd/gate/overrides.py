"""What a person decides about versions: to force a promotion, to roll one back, to approve one. Each is recorded.

A person's word is no evidence: it moves the champion, and the anchor only where there was none.

A person's decision is a row of the catalog, like the gate's, with the person's sign-off; it is never edited. Whoever
repeats a command that was killed, with the same name and reason, gets the decision that it had taken.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from bcd.bundle.aliases import (
    finish_moving_aliases,
    identify_version,
    is_about_version,
    last_alias_decision,
    move_registry_aliases,
)
from bcd.bundle.registry import load_bundle, require_bundle_scores
from bcd.errors import BcdError, NotFoundError
from bcd.gate.anchor import find_anchor, record_anchor
from bcd.gate.approvers import require_approver
from bcd.gate.promotion import LOCK, approval_key
from bcd.patches import SnapshotId
from bcd.store.decisions import Decision, Kind, list_stored_decisions, store_decision
from bcd.store.sign_off import SignOff
from bcd.tracking.lookup import MODEL, find_mlflow_version, require_mlflow_version
from bcd.tracking.store import open_mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.settings import Settings
    from bcd.store.store import Store

Answer = Literal["PROMOTE", "HOLD", "REJECT"]


def force_promotion(store: Store, which: str, sign_off: SignOff) -> Decision:
    """Makes a version, or what an alias names, champion whatever the gate says.

    Raises:
        BcdError: There is no such version, it cannot be loaded, it is champion already, or the person may not sign.
    """
    require_approver(store.settings, sign_off)
    client = open_mlflow_client(store.settings)
    with store.lock(LOCK):
        finish_moving_aliases(client, store)
        version = require_mlflow_version(client, which)
        last = last_alias_decision(store)
        if last is not None and last.challenger == version and _is_repeated(client, last, "forced", sign_off):
            return last
        champion = find_mlflow_version(client, "champion")
        if champion == version:
            raise BcdError(f"{MODEL}/{version} is the champion already.", "There is nothing to force.")
        said = f"{sign_off.by} forced the promotion: {sign_off.reason}"
        anchor = find_anchor(store) or champion or version
        decision = _make(client, version, champion, sign_off, kind="forced", said=said, anchor=anchor)
        return _take(client, store, decision)


def roll_back(store: Store, sign_off: SignOff) -> Decision:
    """Makes `previous` champion again, and the champion `previous`; once more undoes it.

    Raises:
        BcdError: There is no previous champion, it cannot be loaded, or the person may not sign.
    """
    require_approver(store.settings, sign_off)
    client = open_mlflow_client(store.settings)
    with store.lock(LOCK):
        finish_moving_aliases(client, store)
        last = last_alias_decision(store)
        if last is not None and _is_repeated(client, last, "rollback", sign_off):
            return last
        champion, previous = (find_mlflow_version(client, alias) for alias in ("champion", "previous"))
        if previous is None or previous == champion:
            raise NotFoundError(
                "There is no previous champion to go back to.",
                f"`bcd model promote VERSION` makes any version of {MODEL} champion.",
            )
        said = f"{sign_off.by} rolled back from {MODEL}/{champion}: {sign_off.reason}"
        anchor = find_anchor(store) or champion or previous
        decision = _make(client, previous, champion, sign_off, kind="rollback", said=said, anchor=anchor)
        return _take(client, store, decision)


def answer_approval(store: Store, which: str, sign_off: SignOff, answer: Answer) -> Decision:
    """Records what a person says about a promotion that awaits approval, and carries it out.

    Where the champion has changed since the gate looked, an approval is recorded and the version held: it was never
    compared with the champion of today.

    Raises:
        BcdError: There is no such version, it cannot be loaded, nothing awaits approval, or the person may not sign.
    """
    require_approver(store.settings, sign_off)
    client = open_mlflow_client(store.settings)
    with store.lock(LOCK):
        finish_moving_aliases(client, store)
        version = require_mlflow_version(client, which)
        last = last_alias_decision(store)
        if last is not None and last.challenger == version and _is_repeated(client, last, "approval", sign_off):
            return last
        waiting = find_awaiting_sign_off(store, version)
        if waiting is None or not is_about_version(client, waiting):
            raise NotFoundError(
                f"No promotion of {MODEL}/{version} awaits approval.",
                "`bcd model history` tells what the gate decided; `bcd model promote` overrules it.",
            )
        champion = find_mlflow_version(client, "champion")
        said, verdict = f"{sign_off.by} answered {answer}: {sign_off.reason}", answer
        if answer == "PROMOTE" and champion != waiting.champion:
            said = f"{_end(said)} The champion has changed to {champion} since the gate looked: the version is held."
            verdict = "HOLD"
        confirmed = verdict == "PROMOTE" and waiting.evidence["verdict"]["confirmed"]
        decision = _make(
            client,
            version,
            champion,
            sign_off,
            kind="approval",
            said=said,
            verdict=verdict,
            key=approval_key(waiting),
            anchor=version if confirmed else find_anchor(store) or champion or version,
        )
        return _take(client, store, decision)


def find_awaiting_sign_off(store: Store, version: str | None = None) -> Decision | None:
    """Returns the newest promotion that awaits a person's sign-off, of one version if named; None: none does."""
    found = [one for one in list_awaiting_sign_off(store) if version in (None, one.challenger)]
    return found[-1] if found else None


def list_awaiting_sign_off(store: Store) -> list[Decision]:
    """Returns the promotions that await a person's sign-off, one of each version."""
    waiting: dict[str, Decision] = {}
    for one in list_stored_decisions(store):
        if one.awaits_approval:
            waiting[one.challenger] = one
        elif one.kind in {"approval", "forced", "rollback"}:
            waiting.pop(one.challenger, None)
    return list(waiting.values())


def _make(
    client: MlflowClient,
    version: str,
    champion: str | None,
    sign_off: SignOff,
    *,
    kind: Kind,
    said: str,
    anchor: str,
    verdict: Answer = "PROMOTE",
    key: str = "",
) -> Decision:
    now = datetime.now(UTC)
    return Decision(
        key=key or f"{kind}/{version}/{now.isoformat()}",
        decided_at=now,
        verdict=verdict,
        challenger=version,
        champion=champion,
        snapshot=SnapshotId(client.get_model_version(MODEL, version).tags.get("bcd.snapshot", "")),
        reasons=[_end(said)],
        evidence=identify_version(client, version) | record_anchor(client, anchor),
        kind=kind,
        sign_off=replace(sign_off, at=now),
    )


def _take(client: MlflowClient, store: Store, decision: Decision) -> Decision:
    """Records a decision and carries it out; what cannot score does not become champion, whoever says so."""
    if decision.promotes:
        _require_loadable(store.settings, decision.challenger)
    store_decision(store, decision)
    move_registry_aliases(client, decision)
    return decision


def _require_loadable(settings: Settings, version: str) -> None:
    require_bundle_scores(load_bundle(settings, version))


def _is_repeated(client: MlflowClient, last: Decision, kind: Kind, sign_off: SignOff) -> bool:
    return (last.kind, last.sign_off) == (kind, sign_off) and is_about_version(client, last)


def _end(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
