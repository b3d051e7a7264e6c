"""The checks that carry the rule: AUROC, recall and specificity of both models on the same patients, with margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.policy.context import CONTEXT
from bcd.evaluation.report.tables import METRIC_NAMES
from bcd.formats import format_difference, format_level, format_signed
from bcd.gate.verdict import Check
from bcd.patches import PERSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from bcd.evaluation.metrics.estimates import Difference
    from bcd.evaluation.options import EvaluateOptions
    from bcd.gate.options import GateOptions


def check_gate_scores(scores: pd.DataFrame) -> Check:
    """Checks that the challenger could be loaded and gave every gate patch a probability."""
    bad = int((~np.isfinite(scores["probability"].to_numpy(dtype=np.float64))).sum())
    if bad:
        text = f"The challenger gave {bad} of {len(scores)} gate patches no finite probability."
    else:
        text = f"The challenger was loaded from the registry and scored {_say(_count_patients(scores), len(scores))}."
    return Check(name="scores", passed=bad == 0, enforced=True, text=text)


def check_gate_evidence(scores: pd.DataFrame, options: GateOptions) -> Check:
    """Counts patients with patches of each class: the rarer class carries the AUROC."""
    wanted = options.min_patients
    found = {
        "patches": _count_patients(scores),
        "IDC patches": _count_patients(scores[scores["label"] == 1]),
        "patches without IDC": _count_patients(scores[scores["label"] == 0]),
    }
    short = [
        f"{count} of at least {wanted} gate patients have {kind} ({wanted - count} missing)"
        for kind, count in found.items()
        if count < wanted
    ]
    if short:
        text = f"Insufficient evidence: {'; '.join(short)}."
    else:
        text = (
            f"Both were evaluated on {_say(found['patches'], len(scores))}; it takes {wanted} patients. "
            f"Intervals of {format_level(options.confidence)} by patient."
        )
    return Check(name="evidence", passed=not short, enforced=True, text=text, value=float(min(found.values())))


def check_gate_differences(differences: Mapping[str, Difference], options: GateOptions) -> list[Check]:
    """Holds the differences, challenger minus champion, against the margins of the rule."""
    least = 0.0 if options.rule == "superior" else -options.margin
    return [
        _check_least("auroc", differences["auroc"], least, enforced=True),
        _check_itself(differences["auroc"]),
        *(
            _check_least(name, differences[name], -options.rate_margin, enforced=options.enforce_rates)
            for name in ("recall", "specificity")
        ),
        *(_report(name, differences[name]) for name in ("accuracy", "brier")),
    ]


def check_anchor_auroc(difference: Difference, options: GateOptions, *, anchor: str, level: float) -> Check:
    """Holds the difference in AUROC from the anchor against the margin, as surely as the look may spend.

    Args:
        difference: Challenger minus anchor, with an interval whose lower end lies above the truth with the
            probability `level`.
        options: The margin.
        anchor: How the anchor is called.
        level: What the look spends of the budget.
    """
    return _check_least(
        "anchor auroc",
        difference,
        -options.margin,
        enforced=True,
        whose=f"that of the anchor, {anchor}, at {format_level(round(1 - 2 * level, 6))}",
    )


def check_anchor_rates(differences: Mapping[str, Difference], options: GateOptions) -> list[Check]:
    """Holds the differences in recall and specificity from the anchor against their margin, as from the champion."""
    return [
        _check_least(
            f"anchor {name}",
            differences[name],
            -options.rate_margin,
            enforced=options.enforce_rates,
            whose="the anchor's",
        )
        for name in ("recall", "specificity")
    ]


def check_context(
    champion: pd.DataFrame | None, challenger: pd.DataFrame, options: GateOptions, evaluate: EvaluateOptions
) -> list[Check]:
    """Reports what neighbours do on the complete slides among the gate patients; the gate decides without them."""
    from bcd.evaluation.metrics.compare import compare_metrics

    if CONTEXT not in challenger.columns or challenger[CONTEXT].isna().all():
        return []
    alone = challenger[challenger[CONTEXT].notna()]
    both = champion is not None and CONTEXT in champion.columns and champion[CONTEXT].notna().any()
    other = champion[champion[CONTEXT].notna()] if champion is not None and both else None
    evaluate = evaluate.model_copy(update={"min_patients": options.min_patients, "confidence": options.confidence})
    auroc = compare_metrics(
        alone if other is None else other.assign(probability=other[CONTEXT]),
        alone.assign(probability=alone[CONTEXT]),
        evaluate,
    )["auroc"]
    than = "its own patch by patch" if other is None else "the champion's with its neighbours"
    text = (
        f"With its neighbours, on {_say(_count_patients(alone), len(alone))} with complete slides, the challenger's"
        f" AUROC differs by {format_difference(auroc)} from {than}; reported only: the gate decides patch by patch."
    )
    return [_check("neighbours", auroc, text, passed=True, enforced=False, limit=None)]


def _count_patients(scores: pd.DataFrame) -> int:
    """Counts the patients of a score frame."""
    return len(scores[PERSON].drop_duplicates())


def _check_least(
    name: str, difference: Difference, least: float, *, enforced: bool, whose: str = "the champion's"
) -> Check:
    passed = difference.low is not None and difference.low > least
    metric = METRIC_NAMES[name.removeprefix("anchor ")]
    found = f"{metric} differs by {format_difference(difference)} from {whose}"
    if difference.low is None:
        basis = _say(difference.n_patients, difference.n_patches)
        end = f"{basis} give no interval: insufficient evidence"
    else:
        end = f"its lower end must stay above {format_signed(least)}: it {'does' if passed else 'does not'}"
    return _check(name, difference, f"{found}; {end}.", passed=passed, enforced=enforced, limit=least)


def _check_itself(auroc: Difference) -> Check:
    passed = auroc.value is not None and auroc.value >= 0
    found = f"The AUROC itself must not be lower: it differs by {format_difference(auroc)}"
    text = f"{found}{'' if passed else ', which is lower'}."
    return _check("not worse", auroc, text, passed=passed, enforced=True, limit=0.0)


def _report(name: str, difference: Difference) -> Check:
    text = f"{METRIC_NAMES[name]} differs by {format_difference(difference)}; reported only."
    return _check(name, difference, text, passed=True, enforced=False, limit=None)


def _check(
    name: str, difference: Difference, text: str, *, passed: bool, enforced: bool, limit: float | None
) -> Check:
    return Check(
        name=name,
        passed=passed,
        enforced=enforced,
        text=f"{text[0].upper()}{text[1:]}",
        value=difference.value,
        low=difference.low,
        high=difference.high,
        limit=limit,
    )


def _say(patients: int, patches: int) -> str:
    return f"{patches:,} patches of {patients} patients"
