"""The champion is evaluated again when new gate or test patients have arrived: a recorded look that moves no alias.

On the gate patients of today it is compared with the version that it replaced, by the rule of the gate; on the test
patients of today its metrics are reported anew. It promotes nobody, and so spends nothing of the gate's budget. What
to do about one that no longer holds is a person's choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.bundle.aliases import finish_moving_aliases, identify_version, is_about_version
from bcd.bundle.registry import read_bundle
from bcd.bundle.seen import find_seen_by_bundle
from bcd.gate.patients import digest_gate_patients, open_look
from bcd.gate.promotion import LOCK, Gate, log_verdict
from bcd.gate.verdict import describe_verdict_figures
from bcd.progress import say_progress
from bcd.store.decisions import list_stored_decisions, store_decision
from bcd.tracking.lookup import MODEL, find_mlflow_version
from bcd.tracking.store import open_mlflow_client, start_run

if TYPE_CHECKING:
    from bcd.evaluation.options import EvaluateOptions
    from bcd.gate.options import GateOptions
    from bcd.gate.verdict import Verdict
    from bcd.snapshots.freeze import Snapshot
    from bcd.store.store import Store
    from bcd.tracking.run import Run


def recheck_champion(
    store: Store,
    *,
    snapshot: Snapshot,
    options: GateOptions,
    evaluate: EvaluateOptions,
    parent: str | None = None,
) -> Verdict | None:
    """Evaluates the champion on the gate and test patients of a snapshot, unless it was evaluated on these very ones.

    Args:
        store: Where the look is recorded.
        snapshot: The snapshot whose gate and test patients are read.
        options: The rule and its margins.
        evaluate: How patients are resampled.
        parent: Run id of the retraining that this belongs to.

    Returns:
        PROMOTE: it stands; HOLD: it is not shown to be no worse than what it replaced; REJECT: it is clearly worse.
        None where there is no champion, or nothing new to evaluate it on.
    """
    client = open_mlflow_client(store.settings)
    options = options.model_copy(update={"approval": False})  # nothing is promoted
    gate = Gate(store, client, snapshot, options, evaluate)
    with store.lock(LOCK) as confirm:
        finish_moving_aliases(client, store)
        champion = find_mlflow_version(client, "champion")
        if champion is None or not _is_due(gate, champion):
            return None
        previous = _find_comparable(gate, champion)
        model = identify_version(client, champion)["model"].removeprefix("models:/")
        key = f"recheck/{champion}/{model}/{previous or 'alone'}/{digest_gate_patients(snapshot)[:16]}"
        name = f"gate {MODEL}/{champion} again"
        with start_run(store.settings, key=key, name=name, kind="gate", parent=parent) as run:
            look = gate.look(run, champion, previous)
            verdict = gate.compare(run, look, champion, previous)
            figures = _report_test(gate, run, champion)
            verdict = _word_recheck(verdict, describe_verdict_figures(f"{MODEL}/{champion}", figures))
            verdict = gate.tell_budget(look, verdict)
            log_verdict(run, verdict)
            decision = gate.make_decision(run, look, verdict, key=key, kind="recheck", figures=figures)
            confirm()
            store_decision(store, decision)
    if verdict.verdict == "REJECT":
        say_progress(
            f"The champion is clearly worse than {MODEL}/{previous} on the gate patients of today."
            " `bcd model rollback` makes that version champion again."
        )
    return verdict


def _is_due(gate: Gate, champion: str) -> bool:
    """Whether gate or test patients are others than those on which this champion was evaluated last."""
    if gate.snapshot.of("gate").empty:
        return False
    evaluated = [
        one
        for one in list_stored_decisions(gate.store)
        if one.kind in {"gate", "recheck"} and one.challenger == champion and is_about_version(gate.client, one)
    ]
    if not evaluated or evaluated[-1].snapshot == gate.snapshot.id:
        return not evaluated
    return bool(evaluated[-1].evidence.get("patients_sha256") != digest_gate_patients(gate.snapshot))


def _find_comparable(gate: Gate, champion: str) -> str | None:
    """Returns the version that the champion replaced, unless it has seen patients that it would be evaluated on."""
    previous = find_mlflow_version(gate.client, "previous")
    if previous is None or previous == champion:
        return None
    bundle = read_bundle(gate.store.settings, previous)
    if find_seen_by_bundle(gate.store.settings, bundle).find(gate.snapshot.of("gate")):
        say_progress(f"{MODEL}/{previous} has seen gate patients of now: the champion is evaluated without it.")
        return None
    return previous


def _report_test(gate: Gate, run: Run, champion: str) -> dict[str, float]:
    """Evaluates the champion on the test patients of the snapshot, and logs what was found; without any, nothing."""
    from bcd.evaluation.evaluation import evaluate_scores

    if gate.snapshot.of("test").empty:
        return {}
    look = open_look(gate.store, gate.snapshot, "test").leave_out_seen(gate.store.settings, champion)
    if look.patches.empty:
        say_progress(look.tell_left_out())
        return {}
    _, scores = look.score(gate.store.settings, champion)
    evaluation = evaluate_scores(scores, gate.evaluate, snapshot=gate.snapshot.id, split="test")
    run.log_evaluation(evaluation, scores)
    figures = evaluation.figures()
    return {name: value for name, value in figures.items() if "_pooled" in name or name == "test_patients"}


def _word_recheck(verdict: Verdict, reported: str) -> Verdict:
    """Says what a verdict means for a champion who is one already."""
    reasons = verdict.reasons
    if verdict.champion is None and verdict.verdict == "PROMOTE":
        reasons = [
            "There is no previous champion to compare it with on these patients.",
            *(check.text for check in verdict.checks if check.name in {"scores", "left out"}),
        ]
    return verdict.model_copy(update={"reasons": reasons, "reported": [reported], "confirmed": False})
