"""The gate: does a challenger become champion? A pure function of scores of the same gate patients.

With d = challenger minus champion and its interval by patient, the rule `non-inferior`, the default, says

- PROMOTE when the lower end of d for AUROC is above -margin and d itself is not below 0, the lower ends for recall
  and specificity (where enforced) are above -rate_margin, and none of the enforced safeguards rings
  (`bcd.gate.safeguards`).
- and when the same holds with the anchor in place of the champion (`bcd.gate.anchor`), apart from d itself: there the
  lower end for AUROC is as sure as the budget of looks allows (`bcd.gate.budget`).
- REJECT when the upper end of d for AUROC is below -margin: clearly worse.
- HOLD otherwise, and always when the gate split has too few patients or one class.

The rule `superior` is stricter in one place: the lower end of d for AUROC has to be above 0.

Without champion and anchor, a challenger that scores the gate patients is promoted, and the verdict says so. One that
gives a patch no finite probability is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcd.evaluation.options import EvaluateOptions
from bcd.gate.checks import (
    check_anchor_auroc,
    check_anchor_rates,
    check_context,
    check_gate_differences,
    check_gate_evidence,
    check_gate_scores,
)
from bcd.gate.options import GateOptions
from bcd.gate.safeguards import check_safeguards
from bcd.gate.verdict import Check, Verdict
from bcd.options import Probability
from bcd.tracking.lookup import MODEL

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Anchor", "Check", "GateOptions", "Verdict", "decide"]


@dataclass(frozen=True)
class Anchor:
    """The anchor as it meets a challenger.

    Attributes:
        version: Its version.
        scores: Its scores of the gate patients.
        level: What the look spends of the budget: the probability with which the bound on challenger minus anchor
            may lie above the truth.
    """

    version: str
    scores: pd.DataFrame
    level: Probability


def decide(
    challenger_scores: pd.DataFrame,
    champion_scores: pd.DataFrame | None,
    options: GateOptions,
    evaluate: EvaluateOptions,
    *,
    challenger: str = "challenger",
    champion: str | None = "champion",
    anchor: Anchor | None = None,
) -> Verdict:
    """Decides on a challenger by the scores of the gate patients.

    Args:
        challenger_scores: Scores of the gate patients by the challenger.
        champion_scores: Scores of the same patches by the champion; None: there is no champion.
        options: Rule, margins and minimums.
        evaluate: How patients are resampled; confidence and the minimum of patients are the gate's own.
        challenger: The challenger's version.
        champion: The champion's version.
        anchor: The anchor, who may be the champion itself; None: there is none.

    Raises:
        BcdError: The two frames are not of the same patches.
    """
    champion = None if champion_scores is None else champion
    nobody = challenger_scores.empty
    checks = [check_gate_evidence(challenger_scores, options) if nobody else check_gate_scores(challenger_scores)]
    if nobody:
        verdict, reasons = "HOLD", [checks[0].text]
    elif not checks[0].passed:
        verdict, reasons = "REJECT", [checks[0].text]
    elif champion_scores is None and anchor is None:
        verdict, reasons = "PROMOTE", ["There is no champion yet.", checks[0].text]
    else:
        checks.append(check_gate_evidence(challenger_scores, options))
        if checks[1].passed and champion_scores is not None:
            checks += _compare(champion_scores, challenger_scores, options, evaluate)
        if checks[1].passed and anchor is not None:
            checks += _compare_with_anchor(
                anchor, challenger_scores, options, evaluate, is_champion=anchor.version == champion
            )
        verdict, reasons = decide_by_checks(checks, options)
    beats = next((check.low for check in checks if check.name == "anchor auroc"), None)
    if checks[0].passed and not nobody:
        checks += check_context(champion_scores, challenger_scores, options, evaluate)
    return Verdict.model_validate(
        {
            "verdict": verdict,
            "reasons": reasons,
            "checks": checks,
            "challenger": challenger,
            "champion": champion,
            "anchor": None if anchor is None else anchor.version,
            "confirmed": verdict == "PROMOTE" and (anchor is None or (beats is not None and beats > 0)),
            "rule": options.rule,
            "awaits_approval": options.approval and verdict == "PROMOTE",
        }
    )


def _compare(
    champion: pd.DataFrame, challenger: pd.DataFrame, options: GateOptions, evaluate: EvaluateOptions
) -> list[Check]:
    from bcd.evaluation.metrics.compare import compare_metrics

    evaluate = evaluate.model_copy(update={"min_patients": options.min_patients, "confidence": options.confidence})
    differences = compare_metrics(champion, challenger, evaluate)
    return check_gate_differences(differences, options) + check_safeguards(champion, challenger, options)


def _compare_with_anchor(
    anchor: Anchor, challenger: pd.DataFrame, options: GateOptions, evaluate: EvaluateOptions, *, is_champion: bool
) -> list[Check]:
    """Asks against the anchor what is asked against the champion, for AUROC as surely as the look can pay for."""
    from bcd.evaluation.metrics.compare import compare_metrics

    evaluate = evaluate.model_copy(update={"min_patients": options.min_patients, "confidence": options.confidence})
    # So far out, resamples say nothing.
    sure = evaluate.model_copy(update={"interval": "jackknife", "confidence": 1 - 2 * anchor.level})
    auroc = compare_metrics(anchor.scores, challenger, sure, ["auroc"])["auroc"]
    checks = [check_anchor_auroc(auroc, options, anchor=f"{MODEL}/{anchor.version}", level=anchor.level)]
    if is_champion:  # the rest is asked already
        return checks
    checks += check_anchor_rates(
        compare_metrics(anchor.scores, challenger, evaluate, ["recall", "specificity"]), options
    )
    return checks + [
        check.model_copy(update={"name": f"anchor {check.name}", "text": f"Against the anchor: {check.text}"})
        for check in check_safeguards(anchor.scores, challenger, options)
    ]


def decide_by_checks(checks: list[Check], options: GateOptions) -> tuple[str, list[str]]:
    """Returns PROMOTE, HOLD or REJECT, and why: an enforced check that fails holds a challenger."""
    failed = [check for check in checks if check.enforced and not check.passed]
    auroc = next((check for check in checks if check.name == "auroc"), None)
    if auroc is not None and auroc.high is not None and auroc.high < -options.margin:
        return "REJECT", [f"The challenger is clearly worse. {auroc.text}"]
    if failed:
        return "HOLD", [check.text for check in failed]
    return "PROMOTE", [check.text for check in checks if check.enforced]
