"""Tables of several models on the same patches, and of what was published, beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.report.published import cruz_roa_table, founding_table
from bcd.evaluation.report.tables import METRIC_NAMES, Table, describe_evaluation
from bcd.formats import format_difference, format_estimate, format_level, format_percent
from bcd.validation.result import Pair, Validation


def validated_models_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Makes the table of several models on the same patches, a column a model."""
    first = next(iter(evaluations.values()))
    rows = [
        [
            f"{METRIC_NAMES[metric]}, {average}",
            *(format_estimate(getattr(e, field)[metric]) for e in evaluations.values()),
        ]
        for metric in first.pooled
        for average, field in (("pooled", "pooled"), ("patient-macro", "patient_macro"))
        if any(getattr(e, field)[metric].value is not None for e in evaluations.values())
    ]
    rows += [
        [
            f"coverage at {format_level(level)}",
            *(format_percent(e.thresholds[i].coverage) for e in evaluations.values()),
        ]
        for i, level in enumerate(first.options.levels)
    ]
    return Table(describe_evaluation(first), ["metric", *evaluations], rows)


def validated_pairs_table(pairs: Sequence[Pair], *, confidence: float) -> Table:
    """Makes the table of pairwise differences, a row a pair."""
    metrics = list(pairs[0].metrics)
    rows = [
        [name_validated_pair(pair), *(format_difference(pair.metrics[metric]) for metric in metrics)]
        for pair in pairs
    ]
    caption = (
        f"Differences on the same patches, with {format_level(confidence)} intervals by patient, of "
        "both over the same patients. Not corrected for the number of pairs."
    )
    return Table(caption, ["difference", *(METRIC_NAMES[metric] for metric in metrics)], rows)


def name_validated_pair(pair: Pair) -> str:
    """Names a difference by its two models."""
    return f"{pair.second} − {pair.first}"  # noqa: RUF001


def published_beside_validated(validation: Validation) -> dict[str, Table]:
    """Makes the tables that put what a protocol's authors published beside each model, by title."""
    makers = {"founding": founding_table, "cruz-roa-2014": cruz_roa_table}
    make = makers.get(validation.protocol)
    if make is None:
        return {}
    return {f"Published, beside {name}": make(evaluation) for name, evaluation in validation.evaluations.items()}
