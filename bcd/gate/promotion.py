"""Promotion: the gate is run on the registered models, and its decision moves the aliases.

An evaluation on the gate patients is logged before it is made, scored from the registry, and kept with its ledger.
The decision is recorded before any alias moves (`bcd.bundle.aliases`), and no two processes decide at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bcd.bundle.aliases import finish_moving_aliases, identify_version, is_about_version, move_registry_aliases
from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.anchor import choose_anchor, find_anchor, record_anchor
from bcd.gate.budget import Budget, find_budget
from bcd.gate.patients import Look, digest_gate_patients, open_look
from bcd.gate.rule import Anchor, GateOptions, decide
from bcd.gate.verdict import Check, Verdict, describe_verdict_record
from bcd.progress import say_progress
from bcd.store.decisions import (
    LOOKS,
    Decision,
    Kind,
    find_stored_decision,
    list_stored_decisions,
    list_stored_looks,
    store_decision,
)
from bcd.tracking.lookup import MODEL, find_mlflow_version, require_mlflow_version
from bcd.tracking.store import open_mlflow_client, start_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from mlflow import MlflowClient

    from bcd.evaluation.options import EvaluateOptions
    from bcd.gate.options import GateOptions
    from bcd.snapshots.freeze import Snapshot
    from bcd.store.store import Store
    from bcd.tracking.run import Run


@dataclass(frozen=True)
class Gate:
    """What a decision is made with.

    Attributes:
        store: Knows the earlier looks.
        client: The registry.
        snapshot: The snapshot whose gate patients are read.
        options: The rule and its margins.
        evaluate: How patients are resampled.
    """

    store: Store
    client: MlflowClient
    snapshot: Snapshot
    options: GateOptions
    evaluate: EvaluateOptions

    def look(self, run: Run, challenger: str, champion: str | None, anchor: str | None = None) -> Look:
        """Reads the gate patients, and logs who looks at them before anybody does.

        Whom a version that came from elsewhere was trained on is left out.
        """
        whole = open_look(self.store, self.snapshot, "gate")
        run.log_options("gate", self.options)
        run.set_tags(
            {
                "bcd.snapshot": self.snapshot.id,
                "bcd.protocol": self.snapshot.protocol,
                "bcd.gate_digest": whole.digest,
                "bcd.challenger": challenger,
                "bcd.champion": champion or "none",
                "bcd.anchor": anchor or "none",
            }
        )
        run.log_snapshot(self.snapshot, context="gate", split="gate")
        look = whole.leave_out_seen(self.store.settings, challenger, champion, anchor)
        run.set_tags({"bcd.gate_digest": look.digest})
        return look

    def compare(
        self, run: Run, look: Look, challenger: str, champion: str | None, anchor: str | None = None
    ) -> Verdict:
        """Scores the gate patients with every model, from the registry, and decides.

        Args:
            run: Where the scores are logged.
            look: The gate patients.
            challenger: The version in question.
            champion: The version that it would take the place of.
            anchor: The version that it is compared with too, for which the look spends of the budget; None: no other.
        """
        scores: dict[str, pd.DataFrame] = {}
        reported = []
        for role, version in {"challenger": challenger, "champion": champion, "anchor": anchor}.items():
            if version is not None and (role != "anchor" or version != champion):
                bundle, scores[role] = look.score(self.store.settings, version)
                reported.append(describe_verdict_record(bundle))
                run.log_table(scores[role], f"{role}_scores.parquet")
        met = None
        if anchor is not None:
            met = Anchor(anchor, scores["champion" if anchor == champion else "anchor"], self._budget(look).level)
        verdict = decide(
            scores["challenger"],
            scores.get("champion"),
            self.options,
            self.evaluate,
            challenger=challenger,
            champion=champion,
            anchor=met,
        )
        left_out = look.tell_left_out()
        told = [Check(name="left out", passed=True, enforced=False, text=left_out)] if left_out else []
        checks = [*verdict.checks, *told, self._count_look(look)]
        reasons = [*verdict.reasons, *(check.text for check in told)]
        return verdict.model_copy(update={"reported": reported, "checks": checks, "reasons": reasons})

    def make_decision(
        self,
        run: Run,
        look: Look,
        verdict: Verdict,
        *,
        key: str,
        kind: Kind = "gate",
        figures: Mapping[str, float] | None = None,
    ) -> Decision:
        """Makes the decision that a verdict comes to, with what it is founded on; `figures` belong to that too."""
        evidence = self._found(run, look, verdict)
        if kind == "gate":
            evidence |= self._found_anchor(verdict)
        return Decision(
            key=key,
            decided_at=datetime.now(UTC),
            verdict=verdict.verdict,
            challenger=verdict.challenger,
            champion=verdict.champion,
            snapshot=self.snapshot.id,
            reasons=verdict.reasons,
            evidence=evidence if figures is None else evidence | {"figures": figures},
            kind=kind,
        )

    def _found(self, run: Run, look: Look, verdict: Verdict) -> dict[str, Any]:
        """Returns what a decision is founded on, as JSON values."""
        return {
            "verdict": verdict.model_dump(mode="json"),
            "awaits_approval": verdict.awaits_approval,
            "gate_digest": look.digest,
            "protocol": self.snapshot.protocol,
            "patients_sha256": digest_gate_patients(self.snapshot),
            "patches": len(look.patches),
            "patients": look.n_patients,
            "run": run.id,
            **identify_version(self.client, verdict.challenger),
        }

    def _found_anchor(self, verdict: Verdict) -> dict[str, Any]:
        """Returns which version is anchor from the decision on, and what its look spent of the budget."""
        becomes = verdict.confirmed and not verdict.awaits_approval
        anchor = verdict.challenger if becomes else verdict.anchor
        spent = {"level": verdict.check("budget").value}
        return spent if anchor is None else spent | record_anchor(self.client, anchor)

    def tell_budget(self, look: Look, verdict: Verdict, note: str = "") -> Verdict:
        """Returns the verdict with who is anchor, what the look spent, what is left, and what renews it.

        Args:
            look: The gate patients.
            verdict: What was decided.
            note: Why the anchor is another one than it was.
        """
        budget = self._budget(look)
        spends = budget.level if any(check.name == "anchor auroc" for check in verdict.checks) else 0.0
        anchor = find_anchor(self.store) if verdict.anchor is None else verdict.anchor
        if verdict.confirmed:
            was = "" if anchor is None else f", which was {MODEL}/{anchor}"
            becomes = "becomes the anchor once it is approved" if verdict.awaits_approval else "becomes the anchor"
            who = f"{MODEL}/{verdict.challenger} {becomes}{was}."
        else:
            who = "There is no anchor yet." if anchor is None else f"The anchor is {MODEL}/{anchor}."
        text = " ".join(part for part in (note, who, budget.tell(spends)) if part)
        check = Check(name="budget", passed=True, enforced=False, text=text, value=spends)
        return verdict.model_copy(
            update={"checks": [*verdict.checks, check], "reasons": [*verdict.reasons, check.text]}
        )

    def _budget(self, look: Look) -> Budget:
        return find_budget(self.store, self.snapshot.protocol, look.n_patients, self.options)

    def _count_look(self, look: Look) -> Check:
        """Says how often these very gate patients, and any of the protocol, were looked at: every look costs."""
        protocol = self.snapshot.protocol
        number = len(list_stored_looks(self.store, look.digest)) + 1
        looks = [one for one in list_stored_decisions(self.store) if one.kind in LOOKS]
        among = sum(one.evidence["protocol"] == protocol for one in looks) + 1
        text = (
            f"This is look {number} at exactly these {look.n_patients} gate patients, "
            f"and look {among} at gate patients of protocol {protocol}."
        )
        return Check(name="looks", passed=True, enforced=False, text=text, value=float(number))


def log_verdict(run: Run, verdict: Verdict) -> None:
    """Logs a verdict with its ledger of checks: as JSON, as Markdown and as a picture."""
    from bcd.gate.plot import draw_gate_checks

    run.set_tags({"bcd.verdict": verdict.verdict})
    run.describe(verdict.markdown())
    figures = [check for check in verdict.checks if check.low is not None]
    run.log_metrics({f"gate_{check.name.replace(' ', '_')}_difference": check.value for check in figures})
    run.log_text(verdict.model_dump_json(indent=2), "verdict.json")
    run.log_text(verdict.markdown(), "verdict.md")
    with TemporaryDirectory() as folder:
        picture = draw_gate_checks(verdict, Path(folder) / "gate.png")
        if picture is not None:
            run.log_file(picture)


LOCK = "promotion"
"""The lock of the catalog under which decisions are taken and aliases move."""


def run_gate(
    store: Store,
    *,
    key: str,
    snapshot: Snapshot,
    challenger: str,
    options: GateOptions,
    evaluate: EvaluateOptions,
    parent: str | None = None,
) -> Verdict:
    """Decides on a registered challenger and moves the aliases; the same key decides once.

    Both are loaded from the registry and score the same patches: the gate split of `snapshot`.

    Args:
        store: Where the decision is recorded.
        key: What the decision is for.
        snapshot: The snapshot whose gate patients are read.
        challenger: Version of the bundle in question.
        options: The rule and its margins.
        evaluate: How patients are resampled.
        parent: Run id of the retraining that this belongs to.

    Raises:
        BcdError: The challenger is unknown or the champion already, a gate patient was trained on, or the gate
            patients are not what they were.
    """
    client = open_mlflow_client(store.settings)
    gate = Gate(store, client, snapshot, options, evaluate)
    with store.lock(LOCK) as confirm:
        finish_moving_aliases(client, store)
        version = require_mlflow_version(client, challenger)
        found = find_verdict(client, store, key, version)
        if found is not None:
            say_progress(f"The gate has decided on {MODEL}/{version} before: {found.verdict}.")
            return found
        key = _choose_key(client, store, given := key, version)
        if key != given:
            say_progress(
                "The catalog holds a decision for this retraining, but about a bundle that is gone: its version or "
                f"the whole registry was deleted since. {MODEL}/{version} came later and is decided on by itself."
            )
        champion = find_mlflow_version(client, "champion")
        if champion == version:
            raise BcdError(f"{MODEL}/{version} is the champion already.", "Name a version that is not.")
        with start_run(store.settings, key=key, name=f"gate {MODEL}/{version}", kind="gate", parent=parent) as run:
            anchor, note = choose_anchor(store, snapshot, champion, options)
            look = gate.look(run, version, champion, anchor)
            verdict = gate.tell_budget(look, gate.compare(run, look, version, champion, anchor), note)
            log_verdict(run, verdict)
            decision = gate.make_decision(run, look, verdict, key=key)
            confirm()
            store_decision(store, decision)
            move_registry_aliases(client, decision)
    return verdict


def find_verdict(client: MlflowClient, store: Store, key: str, version: str) -> Verdict | None:
    """Returns what was decided on a version under `key`, with the word of the person who was asked, if any.

    A decision about another bundle, of a registry that was deleted since, is none about this one.
    """
    decision = find_stored_decision(store, _choose_key(client, store, key, version))
    if decision is None:
        return None
    verdict = Verdict.model_validate(decision.evidence["verdict"])
    answer = find_stored_decision(store, approval_key(decision))
    if answer is None:
        return verdict
    changes = {"verdict": answer.verdict, "awaits_approval": False, "reasons": [*answer.reasons, *verdict.reasons]}
    return verdict.model_copy(update=changes)


def approval_key(decision: Decision) -> str:
    """Returns the key of a person's answer to a decision that awaits approval."""
    return f"{decision.key}/approval"


def _choose_key(client: MlflowClient, store: Store, key: str, version: str) -> str:
    """Returns `key`, or one of the version's own where the decision of `key` is about a bundle that is gone."""
    decision = find_stored_decision(store, key)
    if decision is None or (decision.challenger == version and is_about_version(client, decision)):
        return key
    return f"{key}/{identify_version(client, version)['model'].removeprefix('models:/')}"
