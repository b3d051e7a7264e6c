"""What commands show: admissions, a retraining's outcome, scored patients, as headers and rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bcd.cli.terminal import print_table
from bcd.training.ensemble import describe_ensemble

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.admission.admit import Admission
    from bcd.retraining.stages import Outcome
    from bcd.scoring.result import PatientScore
    from bcd.training.ensemble import TrainedEnsemble

Rows = tuple[list[str], list[list[str]]]


def admission_rows(admissions: Sequence[Admission]) -> Rows:
    """One row a delivery: what became of its files."""
    counts = ["patients", "patches", "IDC", "unlabelled", "refused", "ignored", "flags"]
    header = ["delivery", "hospital", "batch", *counts]
    rows = [
        [
            each.delivery + (" (admitted before)" if each.already else ""),
            each.hospital,
            (each.batch or "none")[:8],
            str(each.patients),
            f"{each.admitted:,}",
            f"{each.positive:,}",
            f"{each.unlabelled:,}",
            ", ".join(f"{count} {rule}" for rule, count in sorted(each.refused.items())) or "0",
            str(each.ignored),
            ", ".join(f"{count} {flag}" for flag, count in sorted(each.flags.items())) or "0",
        ]
        for each in admissions
    ]
    return header, rows


def score_rows(scores: Sequence[PatientScore]) -> Rows:
    """One row a patient."""
    header = ["patient", "bundle", "patches", "confident", "mean probability of IDC", ""]
    rows = [
        [
            f"{each.hospital}/{each.patient}",
            each.bundle,
            f"{each.n:,}",
            f"{each.coverage:.0%}",
            f"{each.tumour_fraction:.3f}",
            "scored before" if each.skipped else "",
        ]
        for each in scores
    ]
    return header, rows


def show_trained(console: Console, trained: TrainedEnsemble) -> None:
    """Prints what was trained: every member's kept epoch with its figures on val patients, and where it lies."""
    header = ["member", "kept epoch", "val score", "AUROC, pooled", "loss", "patches/s", "network"]
    rows = []
    for number, member in enumerate(trained.members, 1):
        kept = member.history[member.best_epoch - 1]
        figures = [f"{kept[name]:.3f}" if name in kept else "n/a" for name in ("val_score", "val_auroc", "loss")]
        epoch = f"{member.best_epoch} of {len(member.history)}"
        rows.append([str(number), epoch, *figures, f"{kept['patches_per_second']:,.0f}", str(member.path)])
    title = f"{describe_ensemble(trained.architecture, trained.options)}, {trained.parameters:,} parameters"
    print_table(console, title, header, rows)
    console.print("Val score: AUROC on val patients, each weighing the same. No gate or test patient was read.")


def show_outcome(console: Console, outcome: Outcome) -> None:
    """Prints what a retraining came to: splits, trials, metrics, threshold table, verdict."""
    from bcd.evaluation.report.tables import headline_table, threshold_parts

    counts = outcome.snapshot.counts()
    print_table(
        console,
        f"Snapshot {outcome.snapshot.id[:12]}, protocol {outcome.snapshot.protocol}",
        ["split", "patients", "patches", "IDC"],
        [
            [str(split), *(f"{row[key]:,}" for key in ("patients", "patches", "positive"))]
            for split, row in counts.iterrows()
        ],
    )
    print_table(console, "Trials of the search", *trial_rows(outcome))
    console.print(outcome.study.note, highlight=False)
    test = outcome.evaluated.evaluations.get("test")
    if test is None:
        console.print("No test patients: nothing can be reported of this network.", style="yellow")
    else:
        headline = headline_table(test)
        print_table(console, "Test patients", headline.header, headline.rows)
        console.print(headline.caption, style="dim", highlight=False)
        for part, table in threshold_parts(test).items():
            print_table(console, f"Threshold table, test patients: {part}", table.header, table.rows)
        console.print(table.caption, style="dim", highlight=False)
    show_verdict(console, outcome)


def trial_rows(outcome: Outcome) -> Rows:
    """One row a trial."""
    header = ["trial", "end", "val score", "parameters", "learning rate", "seconds"]
    rows = [
        [
            str(trial.number) + " (default)" * (trial.number == 0) + " (best)" * (trial.number == outcome.study.best),
            trial.state,
            "" if trial.value is None else f"{trial.value:.3f}",
            f"{trial.parameters:,}",
            f"{trial.training.learning_rate:.2g}",
            f"{trial.seconds:.0f}",
        ]
        for trial in outcome.study.trials
    ]
    return header, rows


def show_verdict(console: Console, outcome: Outcome) -> None:
    """Prints the gate's verdict with its reasons."""
    verdict = outcome.verdict
    against = f"champion {verdict.champion}" if verdict.champion else "no champion"
    colour = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red"}[verdict.verdict]
    console.print()
    console.print(
        f"[bold {colour}]{verdict.verdict}[/] challenger {verdict.challenger} against {against}", highlight=False
    )
    for reason in verdict.reasons:
        console.print(f"  {reason}", highlight=False)
