"""Evaluations as tables: plain rows for the terminal, Markdown for Prefect and MLflow, rows again for HTML.

Examples:
        headline_table(evaluation).markdown()
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Difference
from bcd.evaluation.metrics.thresholds import ThresholdRow
from bcd.evaluation.policy.certified import CertifiedThreshold
from bcd.formats import NOT_AVAILABLE, format_difference, format_estimate, format_level, format_percent

METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "npv": "NPV",
    "f1": "F1",
    "brier": "Brier score (less is better)",
    "ece": "calibration error (less is better)",
}
"""How metrics are called in front of readers."""


_CONFIDENT = ["confidence", "patches", "patients", "effective", "coverage", "of IDC", "of no IDC"]
_RATES = [
    "accuracy",
    "accuracy, patient-macro",
    "precision",
    "NPV",
    "recall of confident",
    "specificity of confident",
]
_OF_ALL = ["recall of all", "specificity of all"]


@dataclass(frozen=True)
class Table:
    """A table of text, with a sentence that says what it is of."""

    caption: str
    header: list[str]
    rows: list[list[str]]

    def without(self, names: Collection[str]) -> Table:
        """Returns the table without some columns, for where there is little room."""
        chosen = [place for place, name in enumerate(self.header) if name not in names]
        rows = [[row[place] for place in chosen] for row in self.rows]
        return Table(self.caption, [self.header[place] for place in chosen], rows)

    def markdown(self) -> str:
        """Returns the table in Markdown, the first column to the left and the others to the right."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        cells = (" | ".join(cell.replace("|", r"\|") for cell in line) for line in lines)
        body = "\n".join(f"| {line} |" for line in cells)
        return f"{self.caption}\n\n{body}\n"


def describe_evaluation(evaluation: Evaluation) -> str:
    """Says in one sentence what an evaluation is of."""
    split = "Given" if evaluation.split == "given" else f"{evaluation.split.capitalize()} split"
    return (
        f"{split}: {evaluation.n_patches:,} patches of {evaluation.n_patients} "
        f"patients ({evaluation.effective_patients:.1f} effective), {100 * evaluation.prevalence:.1f} % IDC; "
        f"{format_level(evaluation.options.confidence)} intervals by patient."
    )


def headline_table(evaluation: Evaluation) -> Table:
    """Makes the table of metrics: pooled, patient-macro, and without the largest patient."""
    largest = f"{evaluation.largest_patient} ({evaluation.largest_patches:,} patches)"
    subgroups = {
        "pooled": evaluation.pooled,
        "patient-macro": evaluation.patient_macro,
        f"leave-one-patient-out: {largest}": evaluation.without_largest,
    }
    subgroups = {name: estimates for name, estimates in subgroups.items() if estimates}
    rows = [
        [METRIC_NAMES[metric], *(format_estimate(estimates[metric]) for estimates in subgroups.values())]
        for metric in evaluation.pooled
    ]
    return Table(describe_evaluation(evaluation), ["metric", *subgroups], rows)


def threshold_rows(evaluation: Evaluation) -> Table:
    """Makes the threshold table."""
    options = evaluation.options
    caption = (
        f"{describe_evaluation(evaluation)} A patch is confident if the calibrated probability of its likelier "
        f"class reaches the confidence. A rate on under {options.min_patches} patches or {options.min_patients} "
        "patients is n/a."
    )
    header = [*_CONFIDENT, *_RATES, *_OF_ALL]
    return Table(caption, header, [_threshold_row(row) for row in evaluation.thresholds])


def threshold_parts(evaluation: Evaluation) -> dict[str, Table]:
    """Makes the threshold table in two parts that a terminal has room for, by what they say."""
    whole = threshold_rows(evaluation)
    return {"what is confident": whole.without(_RATES), "how well": whole.without([*_CONFIDENT[1:], *_OF_ALL])}


def _threshold_row(row: ThresholdRow) -> list[str]:
    effective = f"{row.effective_patients:.1f}"
    rates = (row.accuracy, row.accuracy_macro, row.precision, row.npv, row.recall, row.specificity)
    of_all = (row.recall_of_all, row.specificity_of_all)
    return [
        f"≥ {format_level(row.level)}",
        f"{row.n:,}",
        str(row.patients),
        effective,
        *(format_percent(e) for e in (row.coverage, row.coverage_positive, row.coverage_negative)),
        *(NOT_AVAILABLE if e is None else format_estimate(e) for e in (*rates, *of_all)),
    ]


def difference_table(differences: Mapping[str, Difference], *, caption: str) -> Table:
    """Makes the table of a paired comparison; its counts are of what each metric rests on."""
    rows = [
        [METRIC_NAMES[metric], format_difference(d), f"{d.n_patches:,}", str(d.n_patients)]
        for metric, d in differences.items()
    ]
    return Table(caption, ["metric", "difference", "patches it rests on", "their patients"], rows)


def certified_threshold_table(certified: Sequence[CertifiedThreshold]) -> Table:
    """Makes the table of thresholds by target error."""
    caption = (
        "Val patients, cross-fitted scores. Of a patient's confident patches a share is wrong: the error is the mean "
        "of that share over all patients with a confident patch, and the bound is an upper one. If no threshold is "
        "certified, the figures are of the strictest that was tested. The pooled error is not promised."
    )
    header = [
        "target error",
        "threshold",
        "tested at",
        "confident patches",
        "patients with confident patches",
        "error",
        "bound",
        "pooled error",
    ]
    rows = [
        [
            f"≤ {format_level(row.target_error)}",
            row.verdict,
            f"≥ {format_level(row.tested)}",
            f"{100 * row.coverage:.1f} %",
            f"{row.patients} of {row.n_patients}",
            *(_format_rate(value) for value in (row.error, row.bound, row.error_pooled)),
        ]
        for row in certified
    ]
    return Table(caption, header, rows)


def _format_rate(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{100 * value:.2f} %"
