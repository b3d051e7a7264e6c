"""Two versions on the same patients: pairwise differences with their intervals.

Test patients by default, who choose nothing. Whoever looks at gate patients leaves a row in the catalog: a look that
is not recorded would make later verdicts look better than they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bcd.bundle.aliases import identify_version
from bcd.errors import BcdError
from bcd.gate.budget import find_budget
from bcd.gate.options import GateOptions
from bcd.gate.patients import Look, open_look
from bcd.progress import say_progress
from bcd.snapshots.freeze import load_snapshot
from bcd.store.decisions import Decision, store_decision
from bcd.tracking.lookup import MODEL, require_mlflow_version
from bcd.tracking.store import open_mlflow_client, start_run

if TYPE_CHECKING:
    from bcd.evaluation.metrics.estimates import Difference
    from bcd.evaluation.options import EvaluateOptions
    from bcd.store.sign_off import SignOff
    from bcd.store.store import Store


@dataclass(frozen=True)
class VersionComparison:
    """What two versions differ by.

    Attributes:
        a: The version compared with.
        b: The version in question; every difference is b minus a.
        snapshot: The snapshot whose patients it is evaluated on.
        split: Their split.
        n_patches: Patches evaluated.
        n_patients: Patients evaluated.
        differences: By metric.
    """

    a: str
    b: str
    snapshot: str
    split: str
    n_patches: int
    n_patients: int
    differences: dict[str, Difference]


def compare_versions(
    store: Store,
    a: str,
    b: str,
    evaluate: EvaluateOptions,
    *,
    split: str = "test",
    snapshot: str = "",
    sign_off: SignOff | None = None,
) -> VersionComparison:
    """Scores the same patients with two versions from the registry and compares them pairwise.

    Args:
        store: Where a look at gate patients is recorded.
        a: A version or an alias.
        b: Another one.
        evaluate: How patients are resampled.
        split: `test`, `val` or `gate`.
        snapshot: Id of the snapshot whose patients are read, or its beginning; empty: that of the newer version.
        sign_off: Who looks and why; needed for gate patients.

    Raises:
        BcdError: A version is unknown, both are one, a patient was trained on, or nobody says who looks at the gate.
    """
    from bcd.evaluation.metrics.compare import compare_metrics

    if split == "gate" and sign_off is None:
        raise BcdError(
            "Every look at gate patients is recorded, and nobody says who looks.",
            "Add --by NAME --reason TEXT, or compare on test patients.",
        )
    client = open_mlflow_client(store.settings)
    first, second = (require_mlflow_version(client, which) for which in (a, b))
    if first == second:
        raise BcdError(f"{a} and {b} are both {MODEL}/{first}.", "Name two versions.")
    newer = max(first, second, key=int)
    shown = load_snapshot(store.settings, snapshot or client.get_model_version(MODEL, newer).tags["bcd.snapshot"])
    look = open_look(store, shown, split).leave_out_seen(store.settings, first, second)
    if look.left_out:
        say_progress(look.tell_left_out())
    if look.patches.empty:
        raise BcdError(f"Snapshot {shown.id[:12]} has no {split} patients.", "Name another one with --snapshot.")
    if sign_off is not None and split == "gate":
        store_decision(store, _log_look(store, look, first, second, sign_off))
    scores = [look.score(store.settings, version)[1] for version in (first, second)]
    return VersionComparison(
        a=f"{MODEL}/{first}",
        b=f"{MODEL}/{second}",
        snapshot=shown.id,
        split=split,
        n_patches=len(look.patches),
        n_patients=look.n_patients,
        differences=compare_metrics(scores[0], scores[1], evaluate),
    )


def _log_look(store: Store, look: Look, first: str, second: str, sign_off: SignOff) -> Decision:
    """Logs a look before anybody looks; it spends of the gate's budget, for it may choose what is promoted next."""
    settings, protocol = store.settings, look.snapshot.protocol
    budget = find_budget(store, protocol, look.n_patients, settings.options("gate", GateOptions))
    now = datetime.now(UTC)
    key = f"look/{second}/{first}/{now.isoformat()}"
    with start_run(settings, key=key, name=f"look {MODEL}/{second}", kind="gate") as run:
        run.set_tags(
            {
                "bcd.snapshot": look.snapshot.id,
                "bcd.gate_digest": look.digest,
                "bcd.by": sign_off.by,
                "bcd.challenger": second,
                "bcd.champion": first,
            }
        )
        run.describe(sign_off.reason)
        run.log_snapshot(look.snapshot, context="gate", split="gate")
    evidence = {
        "gate_digest": look.digest,
        "protocol": protocol,
        "level": budget.level,
        "patients": look.n_patients,
        "run": run.id,
    }
    return Decision(
        key=key,
        decided_at=now,
        verdict="LOOK",
        challenger=second,
        champion=first,
        snapshot=look.snapshot.id,
        reasons=[
            f"{sign_off.by} compared them on gate patients: {sign_off.reason}",
            budget.tell(budget.level),
        ],
        evidence=evidence | identify_version(open_mlflow_client(settings), second),
        kind="look",
        sign_off=replace(sign_off, at=now),
    )
