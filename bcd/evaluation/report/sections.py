"""Tables of an evaluation's parts: by hospital and batch, at a stated prevalence, of patients."""

from __future__ import annotations

from collections.abc import Sequence

from bcd.evaluation.context import EvaluatedThreshold
from bcd.evaluation.evaluation import Evaluation, PatientRow
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.subgroups import Subgroup
from bcd.evaluation.outcome import OUTCOMES
from bcd.evaluation.report.tables import METRIC_NAMES, Table
from bcd.formats import NOT_AVAILABLE, format_difference, format_estimate, format_level, format_percent

SHOWN = ("auroc", "auprc", "accuracy", "recall", "specificity", "f1", "brier")
"""Metrics of tables with little room."""


def subgroup_part_table(parts: Sequence[Subgroup], *, kind: str) -> Table:
    """Makes the table of hospitals or batches.

    Args:
        parts: `per_hospital` or `per_batch` of an evaluation.
        kind: What the parts are called: hospital or batch.
    """
    header = [kind, "patches", "patients", "effective", "IDC", *(METRIC_NAMES[name].split(" (")[0] for name in SHOWN)]
    header.append("AUROC, patient-macro")
    rows = [
        [
            part.name[:12] if kind == "batch" else part.name,
            f"{part.n_patches:,}",
            str(part.n_patients),
            f"{part.effective_patients:.1f}",
            f"{100 * part.prevalence:.1f} %",
            *(format_estimate(part.pooled[name]) for name in SHOWN),
            format_estimate(part.patient_macro["auroc"]),
        ]
        for part in parts
    ]
    twice = " A patient of two batches is in both." if kind == "batch" else ""
    return Table(f"Pooled over the patients of each {kind}.{twice}", header, rows)


def _make_prevalence_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of what depends on the prevalence: at the sample's own, and at the stated one."""
    at = evaluation.at_prevalence
    if at is None:
        return None
    own, stated = format_level(round(evaluation.prevalence, 3)), format_level(at.prevalence)
    caption = (
        f"The sample has {own} IDC; beside it, the classes weighted so that it were {stated}. The probabilities stay "
        "as they are. Recall, specificity, balanced accuracy and AUROC do not depend on the prevalence."
    )
    rows = [
        [METRIC_NAMES[name], format_estimate(evaluation.pooled[name]), format_estimate(estimate)]
        for name, estimate in at.metrics.items()
    ]
    return Table(caption, ["metric", f"as it is ({own})", f"at {stated}"], rows)


def _make_patient_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of what patches say of their patients."""
    level = evaluation.patient_level
    if level is None:
        return None
    rows = [
        _format_patient_figures("tumour burden, predicted minus true", level.burden_error),
        _format_patient_figures("tumour burden, absolute error", level.burden_absolute_error),
        _format_patient_figures("tumour burden, Lin's concordance", level.burden_concordance),
        _format_patient_figures("Dice of the map", level.dice),
        _format_patient_figures(
            f"Dice of the largest piece ({level.maps} patients have a dense map)", level.piece_dice
        ),
    ]
    if evaluation.worst_tenth is not None:
        rows.append(_format_patient_figures("accuracy of the worst tenth of the patients", evaluation.worst_tenth))
    options = evaluation.options
    caption = (
        f"Patients with at least {options.min_patches} patches, each counting the same; burden: mean probability of "
        "IDC against the share labelled IDC, of the patches that were delivered."
    )
    return Table(caption, ["of patients", "mean", "patients"], rows)


def _format_patient_figures(name: str, estimate: Estimate) -> list[str]:
    return [name, format_estimate(estimate), str(estimate.n_patients)]


def _make_outcome_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of outcomes, which says whether it validates anything."""
    level = evaluation.patient_level
    if level is None:
        return None
    few = sum(level.outcomes["without IDC"].values())
    caption = level.rule
    if level.descriptive:
        caption += (
            f" Descriptive only: {few} of these patients {'has' if few == 1 else 'have'} no patch labelled IDC, "
            "too few to say how often the rule is right."
        )
    rows = [[group, *(str(counts[each]) for each in OUTCOMES)] for group, counts in level.outcomes.items()]
    return Table(caption, ["patients", *OUTCOMES], rows)


def _make_selective_table(evaluation: Evaluation) -> Table:
    """Makes the table of the areas of the risk-coverage curve."""
    curve = evaluation.selective
    caption = (
        "Less is better. AURC: mean error among the confident over all coverages; AUGRC: mean share of patches that "
        "is confident and wrong."
    )
    rows = [["AURC", format_estimate(curve.aurc)], ["AUGRC", format_estimate(curve.augrc)]]
    return Table(caption, ["risk and coverage", "area"], rows)


def context_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of what neighbours add on complete slides."""
    context = evaluation.context
    if context is None:
        return None
    rows = [
        [
            METRIC_NAMES[name],
            format_estimate(estimate),
            format_estimate(context.pooled[name]),
            format_difference(context.differences[name]) if name in context.differences else "",
            format_estimate(context.alone_macro[name]),
            format_estimate(context.patient_macro[name]),
        ]
        for name, estimate in context.alone.items()
    ]
    standing = f" In context: {context.standing}." if context.standing else ""
    caption = (
        f"Complete slides: {context.n_patches:,} patches of {context.n_patients} patients, each scored alone and "
        f"corrected by its neighbours.{standing}"
    )
    header = ["metric", "alone", "in context", "difference", "alone, patient-macro", "in context, patient-macro"]
    return Table(caption, header, rows)


def context_threshold_table(evaluation: Evaluation) -> Table | None:
    """Makes the threshold table of the probability in context."""
    context = evaluation.context
    if context is None:
        return None
    rows = [
        [
            f"≥ {format_level(row.level)}",
            f"{row.n:,}",
            str(row.patients),
            format_percent(row.coverage),
            *(format_estimate(each) for each in (row.accuracy, row.accuracy_macro, row.precision, row.npv)),
        ]
        for row in context.thresholds
    ]
    header = ["confidence", "patches", "patients", "coverage", "accuracy", "accuracy, patient-macro", "precision"]
    return Table("Complete slides, by the probability in context.", [*header, "NPV"], rows)


def certified_policy_table(certified: Sequence[EvaluatedThreshold]) -> Table | None:
    """Makes the table of a policy's certified thresholds on these patients."""
    if not certified:
        return None
    rows = []
    for evaluated in certified:
        row = [f"≤ {format_level(evaluated.promised.target_error)}", evaluated.promised.verdict]
        found = evaluated.found
        if found is None:
            rows.append([*row, *[NOT_AVAILABLE] * 4])
            continue
        rates = (format_estimate(found.accuracy_macro), format_estimate(found.accuracy))
        rows.append([*row, format_percent(found.coverage), str(found.patients), *rates])
    caption = (
        "Certified on val patients, and how they do here; the promise is about the mean over patients of the share "
        "of wrong patches among the confident ones, which is 1 minus the first accuracy."
    )
    header = ["target error", "threshold", "coverage", "patients", "accuracy, patient-macro", "accuracy, pooled"]
    return Table(caption, header, rows)


def _make_worst_table(evaluation: Evaluation) -> Table:
    """Makes the table of the patients with the lowest accuracy."""
    caption = f"The lowest accuracy among patients with at least {evaluation.options.min_patches} patches."
    header = ["patient", "patches", "IDC", "called IDC", "accuracy", "recall", "specificity", "AUROC", "Dice"]
    return Table(caption, header, [_patient(row) for row in evaluation.worst])


def _patient(row: PatientRow) -> list[str]:
    figures = (row.accuracy, row.recall, row.specificity, row.auroc, row.dice)
    texts = [NOT_AVAILABLE if figure is None else f"{figure:.3f}".removeprefix("0") for figure in figures]
    name = f"{row.hospital}/{row.patient}"
    return [name, f"{row.patches:,}", f"{row.positive:,}", f"{row.predicted_positive:,}", *texts]


def subgroup_tables(evaluation: Evaluation) -> dict[str, Table]:
    """Makes the tables of an evaluation's subgroups that have something to show, by title."""
    tables: dict[str, Table | None] = {
        "Thresholds by target error": certified_policy_table(evaluation.certified),
        "Neighbours": context_table(evaluation),
        "Thresholds in context": context_threshold_table(evaluation),
        "Thresholds by target error in context": certified_policy_table(evaluation.context.certified)
        if evaluation.context
        else None,
        "Risk and coverage": _make_selective_table(evaluation),
        "Patients": _make_patient_table(evaluation),
        "Outcomes": _make_outcome_table(evaluation),
    }
    if evaluation.worst:
        tables["Worst patients"] = _make_worst_table(evaluation)
    tables["At a stated prevalence"] = _make_prevalence_table(evaluation)
    for kind, parts in (("hospital", evaluation.per_hospital), ("batch", evaluation.per_batch)):
        if len(parts) > 1:
            tables[f"By {kind}"] = subgroup_part_table(parts, kind=kind)
    return {title: table for title, table in tables.items() if table is not None}
