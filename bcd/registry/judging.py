"""A judgement on the gate patients: logged before it is made, scored from the registry, kept with its ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bcd.registry.aliases import identify
from bcd.registry.gate import judge
from bcd.registry.look import Look, judges_of, open_look
from bcd.registry.reported import report_of
from bcd.registry.verdict import Check, Verdict
from bcd.store.decisions import LOOKS, Decision, Kind, list_decisions, list_looks

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from bcd.evaluation.options import EvaluateOptions
    from bcd.registry.options import GateOptions
    from bcd.registry.run import Run
    from bcd.settings import Settings
    from bcd.store.catalog import Catalog
    from bcd.store.snapshots import Snapshot


@dataclass(frozen=True)
class Judging:
    """What a judgement is made with.

    Attributes:
        settings: Where everything is.
        catalog: Knows the earlier looks.
        client: The registry.
        snapshot: The snapshot whose gate patients judge.
        options: The rule and its margins.
        evaluate: How patients are resampled.
    """

    settings: Settings
    catalog: Catalog
    client: MlflowClient
    snapshot: Snapshot
    options: GateOptions
    evaluate: EvaluateOptions

    def look(self, run: Run, challenger: str, champion: str | None) -> Look:
        """Reads the gate patients, and logs who looks at them before anybody does."""
        look = open_look(self.settings, self.catalog, self.snapshot, "gate")
        run.log_options("gate", self.options)
        run.set_tags({"bcd.snapshot": self.snapshot.id, "bcd.protocol": self.snapshot.protocol})
        run.set_tags(
            {"bcd.gate_digest": look.digest, "bcd.challenger": challenger, "bcd.champion": champion or "none"}
        )
        run.log_snapshot(self.snapshot, context="gate", split="gate")
        return look

    def compare(self, run: Run, look: Look, challenger: str, champion: str | None) -> Verdict:
        """Scores the gate patients with both models, from the registry, and judges."""
        scores: dict[str, pd.DataFrame] = {}
        reported = []
        for role, version in {"challenger": challenger, "champion": champion}.items():
            if version is not None:
                bundle, scores[role] = look.score(self.settings, version)
                reported.append(report_of(bundle))
                run.log_table(scores[role], f"{role}_scores.parquet")
        verdict = judge(
            scores["challenger"],
            scores.get("champion"),
            self.options,
            self.evaluate,
            challenger=challenger,
            champion=champion,
        )
        checks = [*verdict.checks, self._count_look(look)]
        return verdict.model_copy(update={"reported": reported, "checks": checks})

    def make_decision(
        self, run: Run, look: Look, verdict: Verdict, *, key: str, kind: Kind = "gate", figures: Any = None
    ) -> Decision:
        """Makes the decision that a verdict comes to, with what it is founded on; `figures` belong to that too."""
        evidence = self._found(run, look, verdict)
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
            "judges": judges_of(self.snapshot),
            "patches": len(look.patches),
            "patients": look.n_patients,
            "run": run.id,
            **identify(self.client, verdict.challenger),
        }

    def _count_look(self, look: Look) -> Check:
        """Says how often these very gate patients, and any of the protocol, were looked at: every look wears them."""
        protocol = self.snapshot.protocol
        number = len(list_looks(self.catalog, look.digest)) + 1
        looks = [one for one in list_decisions(self.catalog) if one.kind in LOOKS]
        # Earlier decisions do not say under which protocol.
        among = sum(one.evidence.get("protocol", protocol) == protocol for one in looks) + 1
        text = (
            f"This is look {number} at exactly these {look.n_patients} gate patients, "
            f"and look {among} at gate patients of protocol {protocol}."
        )
        return Check(name="looks", passed=True, enforced=False, text=text, value=float(number))


def log_verdict(run: Run, verdict: Verdict) -> None:
    """Logs a verdict with its ledger of checks: as JSON, as Markdown and as a picture."""
    from bcd.registry.gate_plot import draw_checks

    run.set_tags({"bcd.verdict": verdict.verdict, "mlflow.note.content": verdict.markdown()})
    figures = [check for check in verdict.checks if check.low is not None]
    run.log_metrics({f"gate_{check.name.replace(' ', '_')}_difference": check.value for check in figures})
    run.log_text(verdict.model_dump_json(indent=2), "verdict.json")
    run.log_text(verdict.markdown(), "verdict.md")
    with TemporaryDirectory() as folder:
        picture = draw_checks(verdict, Path(folder) / "gate.png")
        if picture is not None:
            run.log_file(picture)
