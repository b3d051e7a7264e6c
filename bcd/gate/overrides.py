"""What a person decides about versions: to force a promotion, to roll one back, to approve one. Each is recorded.

A person's word is a row of the catalog with name and reason, like the gate's decisions; it is never edited. Whoever
repeats a command that was killed, with the same name and reason, gets the decision that it had taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from bcd.bundle.aliases import carry_out, finish_last_decision, identify, is_about, last_decision
from bcd.bundle.registry import load_bundle, require_scores
from bcd.errors import BcdError
from bcd.gate.promotion import LOCK, approval_key
from bcd.patches import SnapshotId
from bcd.store.decisions import Decision, Kind, list_decisions, record_decision
from bcd.tracking.lookup import MODEL, known_version, resolve_version
from bcd.tracking.store import open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.settings import Settings
    from bcd.store.store import Store

Answer = Literal["PROMOTE", "HOLD", "REJECT"]


@dataclass(frozen=True)
class Word:
    """A person's word.

    Attributes:
        by: Who decides.
        reason: Why; kept for ever.
    """

    by: str
    reason: str

    def __post_init__(self) -> None:
        for name, value, longest in (("name", self.by, 255), ("reason", self.reason, 5000)):
            if not value.strip() or len(value) > longest:
                option = "--by" if name == "name" else "--reason"
                raise BcdError(
                    f"The {name} is missing or too long.", f"Say it with {option}; it is kept with the decision."
                )


def force_promotion(store: Store, which: str, word: Word) -> Decision:
    """Makes a version, or what an alias names, champion whatever the gate says.

    Raises:
        BcdError: There is no such version, it cannot be loaded, or it is champion already.
    """
    client = open_client(store.settings)
    with store.lock(LOCK):
        finish_last_decision(client, store)
        version = known_version(client, which)
        last = last_decision(store)
        if last is not None and last.challenger == version and _is_repeated(client, last, "forced", word):
            return last
        champion = resolve_version(client, "champion")
        if champion == version:
            raise BcdError(f"{MODEL}/{version} is the champion already.", "There is nothing to force.")
        said = f"{word.by} forced the promotion: {word.reason}"
        decision = _make(client, version, champion, word, kind="forced", said=said)
        return _take(client, store, decision)


def roll_back(store: Store, word: Word) -> Decision:
    """Makes `previous` champion again, and the champion `previous`; once more undoes it.

    Raises:
        BcdError: There is no previous champion, or it cannot be loaded.
    """
    client = open_client(store.settings)
    with store.lock(LOCK):
        finish_last_decision(client, store)
        last = last_decision(store)
        if last is not None and _is_repeated(client, last, "rollback", word):
            return last
        champion, previous = (resolve_version(client, alias) for alias in ("champion", "previous"))
        if previous is None or previous == champion:
            raise BcdError(
                "There is no previous champion to go back to.",
                f"`bcd model promote VERSION` makes any version of {MODEL} champion.",
            )
        said = f"{word.by} rolled back from {MODEL}/{champion}: {word.reason}"
        decision = _make(client, previous, champion, word, kind="rollback", said=said)
        return _take(client, store, decision)


def answer_approval(store: Store, which: str, word: Word, answer: Answer) -> Decision:
    """Records what a person says about a promotion that awaits approval, and carries it out.

    Where the champion has changed since the gate looked, an approval is recorded and the version held: it was never
    compared with the champion of today.

    Raises:
        BcdError: There is no such version, it cannot be loaded, or nothing awaits approval.
    """
    client = open_client(store.settings)
    with store.lock(LOCK):
        finish_last_decision(client, store)
        version = known_version(client, which)
        last = last_decision(store)
        if last is not None and last.challenger == version and _is_repeated(client, last, "approval", word):
            return last
        waiting = find_waiting(store, version)
        if waiting is None or not is_about(client, waiting):
            raise BcdError(
                f"No promotion of {MODEL}/{version} awaits approval.",
                "`bcd model history` tells what the gate decided; `bcd model promote` overrules it.",
            )
        champion = resolve_version(client, "champion")
        said, verdict = f"{word.by} answered {answer}: {word.reason}", answer
        if answer == "PROMOTE" and champion != waiting.champion:
            said = f"{_end(said)} The champion has changed to {champion} since the gate looked: the version is held."
            verdict = "HOLD"
        decision = _make(
            client, version, champion, word, kind="approval", said=said, verdict=verdict, key=approval_key(waiting)
        )
        return _take(client, store, decision)


def find_waiting(store: Store, version: str | None = None) -> Decision | None:
    """Returns the newest promotion that awaits a person's word, of one version if named; None: none does."""
    waiting: dict[str, Decision] = {}
    for one in list_decisions(store):
        if one.awaits_approval:
            waiting[one.challenger] = one
        elif one.kind in {"approval", "forced", "rollback"}:
            waiting.pop(one.challenger, None)
    if version is not None:
        return waiting.get(version)
    return list(waiting.values())[-1] if waiting else None


def _make(
    client: MlflowClient,
    version: str,
    champion: str | None,
    word: Word,
    *,
    kind: Kind,
    said: str,
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
        evidence=identify(client, version),
        kind=kind,
        by=word.by,
        reason=word.reason,
    )


def _take(client: MlflowClient, store: Store, decision: Decision) -> Decision:
    """Records a decision and carries it out; what cannot score does not become champion, whoever says so."""
    if decision.promotes:
        _require_loadable(store.settings, decision.challenger)
    record_decision(store, decision)
    carry_out(client, decision)
    return decision


def _require_loadable(settings: Settings, version: str) -> None:
    bundle = load_bundle(settings, version)
    require_scores(bundle.name, bundle.score)


def _is_repeated(client: MlflowClient, last: Decision, kind: Kind, word: Word) -> bool:
    return (last.kind, last.by, last.reason) == (kind, word.by, word.reason) and is_about(client, last)


def _end(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
