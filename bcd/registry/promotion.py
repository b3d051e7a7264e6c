"""Promotion: the gate is run on the registered models, and its decision moves the aliases.

The decision is recorded in the catalog before any alias moves, and the tag `bcd.decision` is set on the
version after the last one did. A process that dies in between leaves a decision without its tag, which the
next run of the gate carries out; an alias moved by hand later on is left alone.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.progress import say
from bcd.registry.bundle import MODEL, Bundle, load_bundle, resolve_version
from bcd.registry.gate import GateOptions, Verdict, judge
from bcd.registry.tracking import KEY_TAG, open_client, start_run
from bcd.settings import Settings
from bcd.store.batches import read_pixels
from bcd.store.decisions import Decision, find_decision, list_decisions, record_decision
from bcd.store.snapshots import load_snapshot, patient_keys

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from bcd.registry.run import Run
    from bcd.store.catalog import Catalog
    from bcd.store.snapshots import Snapshot

_KEY = ["hospital", "patient", "slide", "x", "y", "label", "split"]


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
        options: The rule's margins.
        evaluate: How intervals are made.
        parent: Run id of the retraining that this belongs to.

    Raises:
        BcdError: The challenger is unknown or the champion already, or a gate patient was trained on.
    """
    client = open_client(settings)
    finish_last_decision(settings, catalog)
    decision = find_decision(catalog, key)
    if decision is not None:
        say(f"The gate has decided on {MODEL}/{decision.challenger} before: {decision.verdict}.")
        return Verdict.model_validate(decision.evidence["verdict"])
    version = resolve_version(client, challenger)
    if version is None:
        raise BcdError(f"There is no {challenger} of {MODEL} to judge.", "`bcd status` lists the versions.")
    champion = resolve_version(client, "champion")
    if champion == version:
        raise BcdError(f"{MODEL}/{version} is the champion already.", "Name a version that is not.")
    with start_run(settings, key=key, name=f"gate {MODEL}/{version}", kind="gate", parent=parent) as run:
        verdict, evidence = _look(
            settings,
            run,
            snapshot=snapshot,
            challenger=version,
            champion=champion,
            options=options,
            evaluate=evaluate,
        )
        evidence["bundle"] = _key_of(client, version)
        decision = Decision(
            key=key,
            decided_at=datetime.now(UTC),
            verdict=verdict.verdict,
            challenger=version,
            champion=champion,
            snapshot=snapshot.id,
            reasons=verdict.reasons,
            evidence=evidence,
        )
        record_decision(catalog, decision)
        carry_out(client, decision)
    return verdict


def finish_last_decision(settings: Settings, catalog: Catalog) -> None:
    """Carries out the last decision if the process that took it died before its end."""
    client = open_client(settings)
    decisions = list_decisions(catalog)
    if not decisions or resolve_version(client, decisions[-1].challenger) is None:
        return
    last = decisions[-1]
    done = client.get_model_version(MODEL, last.challenger).tags.get("bcd.decision") == last.key
    # In a registry that was started anew the number may stand for another bundle.
    if not done and _key_of(client, last.challenger) == last.evidence.get("bundle"):
        carry_out(client, last)


def carry_out(client: MlflowClient, decision: Decision) -> None:
    """Moves the aliases as a decision says; safe to repeat."""
    version = decision.challenger
    tags = {"bcd.verdict": decision.verdict, "bcd.reasons": " ".join(decision.reasons)[:5000]}
    if decision.verdict == "PROMOTE":
        if decision.champion is not None:
            client.set_registered_model_alias(MODEL, "previous", decision.champion)
        client.set_registered_model_alias(MODEL, "champion", version)
        tags["bcd.promoted_at"] = decision.decided_at.isoformat(timespec="seconds")
        tags["bcd.previous_champion"] = decision.champion or "none"
    if decision.verdict == "HOLD":
        client.set_registered_model_alias(MODEL, "challenger", version)
    elif resolve_version(client, "challenger") == version:
        client.delete_registered_model_alias(MODEL, "challenger")
    for tag, value in tags.items():
        client.set_model_version_tag(MODEL, version, tag, value)
    client.set_model_version_tag(MODEL, version, "bcd.decision", decision.key)  # the last: it says all is done


def assert_unseen(settings: Settings, bundle: Bundle, patches: pd.DataFrame) -> None:
    """Asserts that a bundle neither trained on nor was calibrated on a patient who judges it.

    Raises:
        BcdError: It did; the patients are named.
    """
    trained_on = load_snapshot(settings, bundle.record.snapshot).patches
    used = set(patient_keys(trained_on[trained_on["split"].isin(["train", "val"])]))
    seen = sorted(used & set(patient_keys(patches)))
    if seen:
        raise BcdError(
            f"{bundle.name} has seen {len(seen)} patients who would judge it: {', '.join(seen[:3])}, …",
            "Judge it on a snapshot of the protocol that it was trained under "
            f"({bundle.record.protocol}), or retrain the champion under the new one.",
        )


def _look(
    settings: Settings,
    run: Run,
    *,
    snapshot: Snapshot,
    challenger: str,
    champion: str | None,
    options: GateOptions,
    evaluate: EvaluateOptions,
) -> tuple[Verdict, dict[str, object]]:
    """Looks at the gate patients, and logs that it did before it does."""
    patches = snapshot.of("gate")
    pixels = read_pixels(settings, patches)
    digest = _digest(patches, pixels)
    run.set_tags({"bcd.snapshot": snapshot.id, "bcd.protocol": snapshot.protocol, "bcd.gate_digest": digest})
    run.log_snapshot(snapshot, context="gate", split="gate")
    run.log_options("gate", options)
    run.set_tags({"bcd.challenger": challenger, "bcd.champion": champion or "none"})
    scores: dict[str, pd.DataFrame] = {}
    for role, version in {"challenger": challenger, "champion": champion}.items():
        if version is not None:
            bundle = load_bundle(settings, version)
            assert_unseen(settings, bundle, patches)
            scores[role] = score_frame(bundle, patches, pixels)
            run.log_table(scores[role], f"{role}_scores.parquet")
    verdict = judge(
        scores["challenger"],
        scores.get("champion"),
        options,
        evaluate,
        challenger=challenger,
        champion=champion,
    )
    _log_verdict(run, verdict)
    evidence = {
        "verdict": verdict.model_dump(mode="json"),
        "gate_digest": digest,
        "patches": len(patches),
        "patients": int(patient_keys(patches).nunique()),
        "run": run.id,
    }
    return verdict, evidence


def _log_verdict(run: Run, verdict: Verdict) -> None:
    run.set_tags({"bcd.verdict": verdict.verdict, "mlflow.note.content": verdict.markdown()})
    run.log_metrics({f"gate_{c.name.replace(' ', '_')}_difference": c.value for c in verdict.checks[2:]})
    run.log_text(verdict.model_dump_json(indent=2), "verdict.json")
    run.log_text(verdict.markdown(), "verdict.md")


def score_frame(bundle: Bundle, patches: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
    """Scores the patches of a snapshot.

    Args:
        bundle: What scores them.
        patches: Rows of a snapshot.
        pixels: Their raw pixels, in the frame's order.

    Returns:
        The patches' columns (hospital, patient, slide, x, y, label, split) with logit and probability.
    """
    scores = bundle.score(pixels)
    return patches[_KEY].reset_index(drop=True).join(scores[["logit", "probability"]])


def _key_of(client: MlflowClient, version: str) -> str | None:
    key: str | None = client.get_model_version(MODEL, version).tags.get(KEY_TAG)
    return key


def _digest(patches: pd.DataFrame, pixels: np.ndarray) -> str:
    """Hashes what judges: which patches, with which labels and which pixels."""
    digest = hashlib.sha256(patches[_KEY].to_csv(index=False).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
