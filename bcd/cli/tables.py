"""What commands show: admissions, a retraining's outcome, scored patients, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bcd.cli.screen import print_table
from bcd.training.ensemble import describe_ensemble

if TYPE_CHECKING:
    from bcd.admission.admit import Admission
    from bcd.cli.screen import Screen
    from bcd.retraining.stages import Outcome
    from bcd.scoring.result import PatientScore
    from bcd.search.records import StudyResult
    from bcd.training.ensemble import TrainedEnsemble


def print_admissions(console: Screen, admissions: Sequence[Admission]) -> None:
    """Shows what became of deliveries, one a row."""
    console.table(
        "Admission",
        admissions,
        {
            "delivery": lambda each: each.delivery + (" (admitted before)" if each.already else ""),
            "hospital": lambda each: each.hospital,
            "batch": lambda each: (each.batch or "none")[:8],
            "patients": lambda each: str(each.patients),
            "patches": lambda each: f"{each.admitted:,}",
            "IDC": lambda each: f"{each.positive:,}",
            "unlabelled": lambda each: f"{each.unlabelled:,}",
            "refused": lambda each: ", ".join(f"{n} {rule}" for rule, n in sorted(each.refused.items())) or "0",
            "ignored": lambda each: str(each.ignored),
            "flags": lambda each: ", ".join(f"{n} {flag}" for flag, n in sorted(each.flags.items())) or "0",
        },
    )


def print_scores(console: Screen, scores: Sequence[PatientScore]) -> None:
    """Shows scored patients, one a row."""
    console.table(
        "Scores",
        scores,
        {
            "patient": lambda each: f"{each.hospital}/{each.patient}",
            "bundle": lambda each: each.bundle,
            "patches": lambda each: f"{each.n:,}",
            "confident": lambda each: f"{each.coverage:.0%}",
            "mean probability of IDC": lambda each: f"{each.tumour_fraction:.3f}",
            "drift": lambda each: each.drift.state.title,
            "": lambda each: "scored before" if each.skipped else "",
        },
    )


def print_trained(console: Screen, trained: TrainedEnsemble) -> None:
    """Prints what was trained: every member's kept epoch with its figures on val patients, and where it lies."""
    members = [
        {"member": number, "epoch": member.best_epoch, "epochs": len(member.history), "network": member.path}
        | member.history[member.best_epoch - 1]
        for number, member in enumerate(trained.members, 1)
    ]

    def figure(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda each: f"{each[name]:.3f}" if name in each else "n/a"

    console.table(
        f"{describe_ensemble(trained.architecture, trained.options)}, {trained.parameters:,} parameters",
        members,
        {
            "member": lambda each: str(each["member"]),
            "kept epoch": lambda each: f"{each['epoch']} of {each['epochs']}",
            "val score": figure("val_score"),
            "AUROC, pooled": figure("val_auroc"),
            "loss": figure("loss"),
            "patches/s": lambda each: f"{each['patches_per_second']:,.0f}",
            "network": lambda each: str(each["network"]),
        },
        key="members",
    )
    console.facts({"architecture": trained.architecture, "options": trained.options})
    console.print("Val score: AUROC on val patients, each weighing the same. No gate or test patient was read.")


def print_outcome(console: Screen, outcome: Outcome) -> None:
    """Prints what a retraining came to: splits, trials, metrics, threshold table, verdict."""
    from bcd.evaluation.report.tables import headline_table, threshold_parts

    counts = outcome.snapshot.counts().reset_index(names="split").to_dict("records")
    splits: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in counts]
    console.table(
        f"Snapshot {outcome.snapshot.id[:12]}, protocol {outcome.snapshot.protocol}",
        splits,
        {
            "split": lambda each: str(each["split"]),
            **{name: _count_column(name) for name in ("patients", "patches")},
            "IDC": _count_column("positive"),
        },
        key="splits",
    )
    _show_trials(console, outcome.study)
    console.print(outcome.study.note)
    test = outcome.evaluated.evaluations.get("test")
    console.facts({"snapshot": outcome.snapshot.id, "note": outcome.study.note, "test": test})
    if test is None:
        console.print("No test patients: nothing can be reported of this network.", style="yellow")
    else:
        headline = headline_table(test)
        print_table(console, "Test patients", headline.header, headline.rows)
        console.print(headline.caption, style="dim")
        for part, table in threshold_parts(test).items():
            print_table(console, f"Threshold table, test patients: {part}", table.header, table.rows)
        console.print(table.caption, style="dim")
    _show_verdict(console, outcome)


def _count_column(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda each: f"{each[name]:,}"


def _show_trials(console: Screen, study: StudyResult) -> None:
    console.table(
        "Trials of the search",
        study.trials,
        {
            "trial": lambda each: each.name + " (chosen)" * (each.number == study.best),
            "end": lambda each: each.state,
            "val score": lambda each: "" if each.value is None else f"{each.value:.3f}",
            "parameters": lambda each: f"{each.parameters:,}",
            "learning rate": lambda each: f"{each.training.learning_rate:.2g}",
            "seconds": lambda each: f"{each.seconds:.0f}",
        },
        key="trials",
    )


def _show_verdict(console: Screen, outcome: Outcome) -> None:
    """Prints the gate's verdict with its reasons."""
    verdict = outcome.verdict
    console.facts({"verdict": verdict})
    against = f"champion {verdict.champion}" if verdict.champion else "no champion"
    colour = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red"}[verdict.verdict]
    console.print()
    console.print(f"[bold {colour}]{verdict.verdict}[/] challenger {verdict.challenger} against {against}")
    for reason in verdict.reasons:
        console.print(f"  {reason}")
