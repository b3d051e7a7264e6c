"""Promotion: the gate is run on the registered models, and its decision moves the aliases.

The decision is recorded before any alias moves (`bcd.registry.aliases`), and no two processes decide at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.progress import say
from bcd.registry.aliases import carry_out, finish_last_decision, identify, is_about
from bcd.registry.gate import GateOptions
from bcd.registry.judging import Judging, log_verdict
from bcd.registry.lookup import MODEL, resolve_version
from bcd.registry.tracking import open_client, start_run
from bcd.registry.verdict import Verdict
from bcd.settings import Settings
from bcd.store.decisions import Decision, find_decision, record_decision

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.store.catalog import Catalog
    from bcd.store.snapshots import Snapshot

LOCK = "promotion"
"""The lock of the catalog under which decisions are taken and aliases move."""


def run_gate(
    settings: Settings,
    catalog: Catalog,
    *,
    key: str,
    snapshot: Snapshot,
    challenger: str,
    options: GateOptions,
    evaluate: EvaluateOptions,
    parent: str | None = None,
) -> Verdict:
    """Judges a registered challenger against the champion and moves the aliases; the same key decides once.

    Both are loaded from the registry and score the same patches: the gate split of `snapshot`.

    Args:
        settings: Where everything is.
        catalog: Where the decision is recorded.
        key: What the decision is for.
        snapshot: The snapshot whose gate patients judge.
        challenger: Version of the bundle in question.
        options: The rule and its margins.
        evaluate: How patients are resampled.
        parent: Run id of the retraining that this belongs to.

    Raises:
        BcdError: The challenger is unknown or the champion already, a gate patient was trained on, or the gate
            patients are not what they were.
    """
    client = open_client(settings)
    judging = Judging(settings, catalog, client, snapshot, options, evaluate)
    with catalog.lock(LOCK) as confirm:
        finish_last_decision(client, catalog)
        version = resolve_version(client, challenger)
        if version is None:
            raise BcdError(f"There is no {challenger} of {MODEL} to judge.", "`bcd history` lists the versions.")
        found = find_verdict(client, catalog, key, version)
        if found is not None:
            say(f"The gate has decided on {MODEL}/{version} before: {found.verdict}.")
            return found
        key = _choose_key(client, catalog, given := key, version)
        if key != given:
            say(
                "The catalog holds a decision for this retraining, but about a bundle that is gone: its version or "
                f"the whole registry was deleted since. {MODEL}/{version} came later and is judged on its own."
            )
        champion = resolve_version(client, "champion")
        if champion == version:
            raise BcdError(f"{MODEL}/{version} is the champion already.", "Name a version that is not.")
        with start_run(settings, key=key, name=f"gate {MODEL}/{version}", kind="gate", parent=parent) as run:
            look = judging.look(run, version, champion)
            verdict = judging.compare(run, look, version, champion)
            log_verdict(run, verdict)
            decision = judging.make_decision(run, look, verdict, key=key)
            confirm()
            record_decision(catalog, decision)
            carry_out(client, decision)
    return verdict


def find_verdict(client: MlflowClient, catalog: Catalog, key: str, version: str) -> Verdict | None:
    """Returns what was decided on a version under `key`, with the word of the person who was asked, if any.

    A decision about another bundle, of a registry that was deleted since, is none about this one.
    """
    decision = find_decision(catalog, _choose_key(client, catalog, key, version))
    if decision is None:
        return None
    verdict = Verdict.model_validate(decision.evidence["verdict"])
    answer = find_decision(catalog, approval_key(decision))
    if answer is None:
        return verdict
    changes = {"verdict": answer.verdict, "awaits_approval": False, "reasons": [*answer.reasons, *verdict.reasons]}
    return verdict.model_copy(update=changes)


def approval_key(decision: Decision) -> str:
    """Returns the key of a person's answer to a decision that awaits approval."""
    return f"{decision.key}/approval"


def _choose_key(client: MlflowClient, catalog: Catalog, key: str, version: str) -> str:
    """Returns `key`, or one of the version's own where the decision of `key` is about a bundle that is gone."""
    decision = find_decision(catalog, key)
    if decision is None or (decision.challenger == version and is_about(client, decision)):
        return key
    return f"{key}/{identify(client, version)['model'].removeprefix('models:/')}"
