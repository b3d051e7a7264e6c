"""Tables of an evaluation's views: by hospital and batch, at a stated prevalence, of patients, of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bcd.evaluation.estimates import Estimate
from bcd.evaluation.judgement import Judgement, Pair
from bcd.evaluation.outcome import OUTCOMES
from bcd.evaluation.published import cruz_roa_table, founding_table
from bcd.evaluation.report import Evaluation, PatientRow
from bcd.evaluation.tables import (
    METRIC_NAMES,
    NOT_AVAILABLE,
    Table,
    describe,
    format_difference,
    format_estimate,
    format_level,
    format_percent,
)
from bcd.evaluation.views import View

SHOWN = ("auroc", "auprc", "accuracy", "recall", "specificity", "f1", "brier")
"""Metrics of tables with little room."""


def part_table(parts: Sequence[View], *, kind: str) -> Table:
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


def prevalence_table(evaluation: Evaluation) -> Table | None:
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


def patient_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of what patches say of their patients."""
    level = evaluation.patient_level
    if level is None:
        return None
    rows = [
        _figure("tumour burden, predicted minus true", level.burden_error),
        _figure("tumour burden, absolute error", level.burden_absolute_error),
        _figure("tumour burden, Lin's concordance", level.burden_concordance),
        _figure("Dice of the map", level.dice),
        _figure(f"Dice of the largest piece ({level.maps} patients have a dense map)", level.piece_dice),
    ]
    if evaluation.worst_tenth is not None:
        rows.append(_figure("accuracy of the worst tenth of the patients", evaluation.worst_tenth))
    options = evaluation.options
    caption = (
        f"Patients with at least {options.min_patches} patches, each counting the same; burden: mean probability of "
        "IDC against the share labelled IDC, of the patches that were delivered."
    )
    return Table(caption, ["of patients", "mean", "patients"], rows)


def _figure(name: str, estimate: Estimate) -> list[str]:
    return [name, format_signed(estimate), str(estimate.n_patients)]


def format_signed(estimate: Estimate) -> str:
    """Formats an estimate that may be negative."""
    values = [estimate.value, estimate.low, estimate.high]
    if all(value is None or value >= 0 for value in values):
        return format_estimate(estimate)
    texts = [NOT_AVAILABLE if v is None else f"{v:+.3f}".replace("0.", ".").replace("-", "−") for v in values]  # noqa: RUF001
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def outcome_table(evaluation: Evaluation) -> Table | None:
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


def selective_table(evaluation: Evaluation) -> Table:
    """Makes the table of the areas of the risk-coverage curve."""
    curve = evaluation.selective
    caption = (
        "Less is better. AURC: mean error among the kept over all coverages; AUGRC: mean share of all patches that "
        "is kept and wrong."
    )
    rows = [["AURC", format_estimate(curve.aurc)], ["AUGRC", format_estimate(curve.augrc)]]
    return Table(caption, ["risk and coverage", "area"], rows)


def promise_table(evaluation: Evaluation) -> Table | None:
    """Makes the table of the policy's certified thresholds on these patients."""
    if not evaluation.certified:
        return None
    rows = []
    for judged in evaluation.certified:
        row = [f"≤ {format_level(judged.promised.target_error)}", judged.promised.verdict]
        found = judged.found
        if found is None:
            rows.append([*row, *[NOT_AVAILABLE] * 4])
            continue
        rates = (format_estimate(found.accuracy_macro), format_estimate(found.accuracy))
        rows.append([*row, format_percent(found.coverage), str(found.patients), *rates])
    caption = (
        "Certified on val patients, and how they do here; the promise is about the mean over patients of the share "
        "of wrong patches among those kept, which is 1 minus the first accuracy."
    )
    header = ["target error", "threshold", "coverage", "patients", "accuracy, patient-macro", "accuracy, pooled"]
    return Table(caption, header, rows)


def worst_table(evaluation: Evaluation) -> Table:
    """Makes the table of the patients with the lowest accuracy."""
    caption = f"The lowest accuracy among patients with at least {evaluation.options.min_patches} patches."
    header = ["patient", "patches", "IDC", "called IDC", "accuracy", "recall", "specificity", "AUROC", "Dice"]
    return Table(caption, header, [_patient(row) for row in evaluation.worst])


def _patient(row: PatientRow) -> list[str]:
    figures = (row.accuracy, row.recall, row.specificity, row.auroc, row.dice)
    texts = [NOT_AVAILABLE if figure is None else f"{figure:.3f}".removeprefix("0") for figure in figures]
    name = f"{row.hospital}/{row.patient}"
    return [name, f"{row.patches:,}", f"{row.positive:,}", f"{row.predicted_positive:,}", *texts]


def model_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Makes the table of several models on the same patches, a column a model."""
    first = next(iter(evaluations.values()))
    rows = [
        [
            f"{METRIC_NAMES[metric]}, {view}",
            *(format_estimate(getattr(e, field)[metric]) for e in evaluations.values()),
        ]
        for metric in first.pooled
        for view, field in (("pooled", "pooled"), ("patient-macro", "patient_macro"))
        if any(getattr(e, field)[metric].value is not None for e in evaluations.values())
    ]
    rows += [
        [
            f"coverage at {format_level(level)}",
            *(format_percent(e.thresholds[i].coverage) for e in evaluations.values()),
        ]
        for i, level in enumerate(first.options.levels)
    ]
    return Table(describe(first), ["metric", *evaluations], rows)


def pair_table(pairs: Sequence[Pair], *, confidence: float) -> Table:
    """Makes the table of pairwise differences, a row a pair."""
    metrics = list(pairs[0].metrics)
    rows = [[name_pair(pair), *(format_difference(pair.metrics[metric]) for metric in metrics)] for pair in pairs]
    caption = (
        f"Differences on the same patches, with {format_level(confidence)} intervals by patient, of "
        "both over the same patients. Not corrected for the number of pairs."
    )
    return Table(caption, ["difference", *(METRIC_NAMES[metric] for metric in metrics)], rows)


def name_pair(pair: Pair) -> str:
    """Names a difference by its two models."""
    return f"{pair.second} − {pair.first}"  # noqa: RUF001


def tables_of(evaluation: Evaluation) -> dict[str, Table]:
    """Makes the tables of an evaluation's views that have something to show, by title."""
    tables: dict[str, Table | None] = {
        "Thresholds by target error": promise_table(evaluation),
        "Risk and coverage": selective_table(evaluation),
        "Patients": patient_table(evaluation),
        "Outcomes": outcome_table(evaluation),
    }
    if evaluation.worst:
        tables["Worst patients"] = worst_table(evaluation)
    tables["At a stated prevalence"] = prevalence_table(evaluation)
    for kind, parts in (("hospital", evaluation.per_hospital), ("batch", evaluation.per_batch)):
        if len(parts) > 1:
            tables[f"By {kind}"] = part_table(parts, kind=kind)
    return {title: table for title, table in tables.items() if table is not None}


def published_tables(judgement: Judgement) -> dict[str, Table]:
    """Makes the tables that put what a protocol's authors published beside each model, by title."""
    makers = {"founding": founding_table, "cruz-roa-2014": cruz_roa_table}
    make = makers.get(judgement.protocol)
    if make is None:
        return {}
    return {f"Published, beside {name}": make(evaluation) for name, evaluation in judgement.evaluations.items()}
