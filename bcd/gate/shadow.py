"""The challenger in shadow: it scores beside the champion, and the gate's page says how both agree by patient.

No label is read and nothing is decided by it: agreement says how much would change, not which of the two is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.registry import load_registered_bundle
from bcd.bundle.rows import read_registered_versions
from bcd.formats import format_count, format_share
from bcd.gate.verdict import Verdict
from bcd.progress import track_progress
from bcd.scoring.shadow import Agreement, list_agreements, list_unshadowed, score_in_shadow
from bcd.store.decisions import list_stored_decisions
from bcd.tracking.lookup import MODEL
from bcd.tracking.run import Run, table_as_run_csv
from bcd.tracking.store import open_mlflow_client

if TYPE_CHECKING:
    from bcd.patches import Hospital, PatientId
    from bcd.scoring.bundle import ScoringBundle
    from bcd.scoring.options import ScoreOptions
    from bcd.store.decisions import Decision
    from bcd.store.store import Store

_SHOWN = 200  # patients on the page; the run of the gate has all
_FIXED = ("patient", "patches", "mean difference", "champion says", "challenger says", "same outcome")


@dataclass(frozen=True)
class ShadowRun:
    """What a run in shadow did.

    Attributes:
        version: The challenger's version.
        scored: Number of patients who were scored.
        faults: Why others were not, in sentences.
    """

    version: str
    scored: int
    faults: tuple[str, ...]


def run_shadow(
    store: Store,
    champion: ScoringBundle,
    options: ScoreOptions,
    named: Sequence[tuple[Hospital, PatientId]] | None = None,
) -> ShadowRun | None:
    """Lets the challenger score whom the champion has scored; a patient whom it fails on keeps it from no other.

    Args:
        store: The open store.
        champion: The champion.
        options: How patients are scored.
        named: Only these patients, whom the champion has scored; None: everybody who waits.

    Returns:
        What was done; None: no version is challenger.
    """
    rows = read_registered_versions(store.settings)
    row = next((row for row in rows if "challenger" in row.aliases and row.name != champion.name), None)
    if row is None:
        return None
    waiting = list_unshadowed(store, champion, row.name, options) if named is None else named
    if not waiting:
        return ShadowRun(row.version, 0, ())
    challenger = load_registered_bundle(store.settings, row)
    faults = []
    with track_progress(f"Scoring with {row.name} in shadow", total=len(waiting)) as advance:
        for hospital, patient in waiting:
            try:
                score_in_shadow(store, champion, challenger, hospital, patient, options)
            except Exception as error:  # noqa: BLE001 - whatever it is, the reports are there and others wait
                faults.append(f"{row.name} did not score {hospital}/{patient} in shadow: {error}")
            advance(1)
    _log_shadow(store, row.version)
    return ShadowRun(row.version, len(waiting) - len(faults), tuple(faults))


def find_gate_decision(store: Store, version: str) -> Decision | None:
    """Returns what the gate decided on a version last; None: it never did."""
    decided = [one for one in list_stored_decisions(store) if one.kind == "gate" and one.challenger == version]
    return decided[-1] if decided else None


def describe_gate_page(store: Store, decision: Decision) -> str:
    """Returns what the gate found of a version, and how it agrees with the champion in shadow, as Markdown."""
    verdict = Verdict.model_validate(decision.evidence["verdict"]).markdown()
    return f"{verdict}{describe_shadow(list_agreements(store, f'{MODEL}/{decision.challenger}'))}"


def describe_shadow(agreements: Sequence[Agreement]) -> str:
    """Returns the part of the gate's page on agreement, as Markdown; empty where nothing was scored in shadow."""
    if not agreements:
        return ""
    header, rows = _tabulate_agreements(agreements)
    lines = ["", "## In shadow", "", summarise_shadow(agreements), ""]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines += ["", f"The {_SHOWN} patients who agree least of {len(rows):,}; shadow.csv of the run has all."]
    return "\n".join(lines) + "\n"


def summarise_shadow(agreements: Sequence[Agreement]) -> str:
    """Says in sentences how a challenger agrees with the champion, of at least one patient."""
    first, n = agreements[0], len(agreements)
    same = sum(one.same_outcome for one in agreements)
    median = float(np.median([one.difference for one in agreements]))
    levels = [level for level in first.same_side if all(level in one.same_side for one in agreements)]
    sides = ", ".join(
        f"{format_share(float(np.mean([one.same_side[level] for one in agreements])))} at {level}" for level in levels
    )
    return (
        f"{first.challenger} scored {format_count(n, 'patient')} beside {first.champion}, unseen."
        f" Same outcome: {same} of {n}."
        f" Mean absolute difference of probability, median over patients: {median:.3f}."
        f" Patches on the same side, mean over patients: {sides}."
        " No label was read: this says how much would change, not who is right."
    )


def _log_shadow(store: Store, version: str) -> None:
    """Logs the agreement to the run of the gate's decision, where there is one."""
    decision = find_gate_decision(store, version)
    agreements = list_agreements(store, f"{MODEL}/{version}")
    if decision is None or not agreements:
        return
    run = Run(open_mlflow_client(store.settings), decision.evidence["run"])
    run.log_text(describe_shadow(agreements), "shadow.md")
    run.log_text(table_as_run_csv(*_tabulate_agreements(agreements)), "shadow.csv")


def _tabulate_agreements(agreements: Sequence[Agreement]) -> tuple[list[str], list[list[str]]]:
    levels = list(dict.fromkeys(level for one in agreements for level in one.same_side))
    rows = []
    for one in agreements:
        sides = [format_share(one.same_side[level]) if level in one.same_side else "n/a" for level in levels]
        told = [f"{one.hospital}/{one.patient}", f"{one.patches:,}", f"{one.difference:.3f}"]
        told += [one.champion_outcome, one.challenger_outcome, "yes" if one.same_outcome else "no"]
        rows.append([*told, *sides])
    return [*_FIXED, *(f"same side at {level}" for level in levels)], rows
