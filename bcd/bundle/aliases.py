"""The aliases follow the decisions: the last decision is carried out, whatever died in between.

A decision is recorded in the catalog before any alias moves, and the tag `bcd.decision` is set on the version after
the last one did. `previous` moves before `champion`, so that until the end the champion is the old one; `anchor`
shows the anchor that the decision records. A process that dies in between leaves a decision without its tag, which
`bcd.retraining.reconcile` or the next one to decide carries out; an alias that somebody moved by hand later on is
left alone, except for `anchor`, which the next decision sets right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.progress import say_progress
from bcd.store.decisions import Decision, list_stored_decisions
from bcd.tracking.lookup import KEY_TAG, MODEL, find_mlflow_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from mlflow import MlflowClient

    from bcd.bundle.rows import VersionRow
    from bcd.store.store import Store

DONE_TAG = "mlflow.bcd.decision"
"""The key of the decision that was carried out on a version last."""


def identify_version(client: MlflowClient, version: str) -> dict[str, Any]:
    """Returns what tells a version from another one of the same number in a registry that was started anew."""
    found = client.get_model_version(MODEL, version)
    return {"bundle": found.tags.get(KEY_TAG), "model": found.source}


def is_about_version(client: MlflowClient, decision: Decision) -> bool:
    """Whether the version that a decision names is still the very bundle that it was about."""
    version = find_mlflow_version(client, decision.challenger)
    if version is None:
        return False
    return _is_same(decision, identify_version(client, version))


def find_decided_version(rows: Iterable[VersionRow], decision: Decision) -> VersionRow | None:
    """Returns the version that a decision is about; None where it is gone, even if another one has its number."""
    for row in rows:
        known = {"bundle": row.tags.get(KEY_TAG), "model": row.source}
        if row.version == decision.challenger and _is_same(decision, known):
            return row
    return None


def find_half_done_decision(rows: Iterable[VersionRow], store: Store) -> Decision | None:
    """Returns the last decision about aliases where the process that took it died before the last of them moved."""
    last = last_alias_decision(store)
    row = find_decided_version(rows, last) if last else None
    return last if last and row and row.tags.get(DONE_TAG) != last.key else None


def tell_half_done_decision(decision: Decision) -> tuple[str, str]:
    """Says that a decision is recorded and its aliases have not moved, and what moves them."""
    return (
        f"The decision on {MODEL}/{decision.challenger} ({decision.verdict}, by {decision.by}) is recorded, and the "
        "process that took it ended before the aliases had moved.",
        "While `bcd up` runs, `reconcile` moves them within a quarter of an hour; it can be started by hand.",
    )


def explain_aliases(rows: Sequence[VersionRow], store: Store) -> tuple[str, str] | None:
    """Says how the aliases are not as was decided, and what to do about it; None: they are.

    A decision is half carried out, or somebody deleted or moved the champion's alias by hand.
    """
    if lost := find_lost_champion_alias(rows, store):
        return tell_lost_champion_alias(lost)
    if half_done := find_half_done_decision(rows, store):
        return tell_half_done_decision(half_done)
    moved = find_moved_champion(rows, store)
    return tell_moved_champion(*moved) if moved else None


def find_lost_champion_alias(rows: Sequence[VersionRow], store: Store) -> Decision | None:
    """Returns the last decision that made a version champion which is still there, where no version is champion.

    None where there is a champion, or never was one, all that ever were are gone, or a process died before it moved
    the alias.
    """
    half_done = find_half_done_decision(rows, store)
    if any("champion" in row.aliases for row in rows) or (half_done is not None and half_done.promotes):
        return None
    promotions = [one for one in list_stored_decisions(store) if one.promotes]
    return next((one for one in reversed(promotions) if find_decided_version(rows, one) is not None), None)


def tell_lost_champion_alias(decision: Decision) -> tuple[str, str]:
    """Says which version was champion, and the command that makes it champion again."""
    name = f"{MODEL}/{decision.challenger}"
    what = (
        f"No version of {MODEL} holds the alias champion, although {name} was made champion"
        f" on {decision.decided_at:%Y-%m-%d} by {decision.by}: the alias was deleted by hand."
    )
    again = f"bcd model promote {decision.challenger} --by NAME --reason TEXT"
    return what, f"`{again}` makes it champion again."


def find_moved_champion(rows: Sequence[VersionRow], store: Store) -> tuple[VersionRow, Decision | None] | None:
    """Returns the champion whom no decision made champion, with the last decision that made another one champion.

    None where there is no champion, the decisions made it champion, or a process died before it moved the aliases.
    """
    champion = next((row for row in rows if "champion" in row.aliases), None)
    if champion is None:
        return None
    promotions = [
        one for one in list_stored_decisions(store) if one.promotes and find_decided_version(rows, one) is not None
    ]
    decided = find_decided_version(rows, promotions[-1]) if promotions else None
    if decided == champion:
        return None
    if find_half_done_decision(rows, store) is not None:  # it is carried out yet
        return None
    return champion, promotions[-1] if promotions else None


def tell_moved_champion(champion: VersionRow, decision: Decision | None) -> tuple[str, str]:
    """Says that a person moved the alias in the registry, past every record, and the command that records it."""
    decided = "no decision is recorded"
    if decision is not None:
        decided = (
            f"{MODEL}/{decision.challenger} was made champion on {decision.decided_at:%Y-%m-%d} by {decision.by}"
        )
    what = f"{champion.name} holds the alias champion, although {decided}: the alias was moved by hand."
    keep = f"`bcd model promote {champion.version} --by NAME --reason TEXT` records it"
    undo = f"; the same with {decision.challenger} undoes it" if decision else ""
    return what, f"{keep}{undo}."


def _is_same(decision: Decision, found: Mapping[str, object]) -> bool:
    return all(decision.evidence[key] == value for key, value in found.items())


def last_alias_decision(store: Store) -> Decision | None:
    """Returns the newest decision that is one about aliases."""
    decisions = [one for one in list_stored_decisions(store) if one.kind not in {"recheck", "look"}]
    return decisions[-1] if decisions else None


def finish_moving_aliases(client: MlflowClient, store: Store) -> Decision | None:
    """Carries out the last decision if the process that took it died before its end.

    Returns:
        The decision that was finished; None where nothing was left to do.
    """
    last = last_alias_decision(store)
    if last is None or not is_about_version(client, last):
        return None
    if client.get_model_version(MODEL, last.challenger).tags.get(DONE_TAG) == last.key:
        return None
    say_progress(f"The decision on {MODEL}/{last.challenger} was not carried out to its end: it is now.")
    move_registry_aliases(client, last)
    return last


def move_registry_aliases(client: MlflowClient, decision: Decision) -> None:
    """Moves the aliases as a decision says; safe to repeat."""
    version = decision.challenger
    tags = {"bcd.verdict": decision.verdict, "bcd.reasons": " ".join(decision.reasons)[:5000]}
    if decision.promotes:
        if decision.champion is not None:
            client.set_registered_model_alias(MODEL, "previous", decision.champion)
        client.set_registered_model_alias(MODEL, "champion", version)
        tags["bcd.promoted_at"] = decision.decided_at.isoformat(timespec="seconds")
        tags["bcd.previous_champion"] = decision.champion or "none"
    if decision.anchor is not None and find_mlflow_version(client, decision.anchor) is not None:
        client.set_registered_model_alias(MODEL, "anchor", decision.anchor)
    if decision.verdict == "HOLD" or decision.awaits_approval:
        client.set_registered_model_alias(MODEL, "challenger", version)
    elif find_mlflow_version(client, "challenger") == version:
        client.delete_registered_model_alias(MODEL, "challenger")
    for tag, value in tags.items():
        client.set_model_version_tag(MODEL, version, tag, value)
    client.set_model_version_tag(MODEL, version, DONE_TAG, decision.key)  # the last: it says all is done
