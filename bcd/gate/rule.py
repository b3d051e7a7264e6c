"""The gate: does a challenger become champion? A pure function of scores of the same gate patients.

With d = challenger minus champion and its interval by patient, the rule `non-inferior`, the default, says

- PROMOTE when the lower end of d for AUROC is above -margin and d itself is not below 0, the lower ends for recall
  and specificity (where enforced) are above -rate_margin, and none of the enforced safeguards rings
  (`bcd.gate.safeguards`).
- REJECT when the upper end of d for AUROC is below -margin: clearly worse.
- HOLD otherwise, and always when the gate split has too few patients or one class.

The rule `superior` is stricter in one place: the lower end of d for AUROC has to be above 0.

Without a champion, a challenger that scores the gate patients is promoted, and the verdict says so. One that gives a
patch no finite probability is rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.evaluation.options import EvaluateOptions
from bcd.gate.checks import check_context, check_gate_differences, check_gate_evidence, check_gate_scores
from bcd.gate.options import GateOptions
from bcd.gate.safeguards import check_safeguards
from bcd.gate.verdict import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Check", "GateOptions", "Verdict", "decide"]


def decide(
    challenger_scores: pd.DataFrame,
    champion_scores: pd.DataFrame | None,
    options: GateOptions,
    evaluate: EvaluateOptions,
    *,
    challenger: str = "challenger",
    champion: str | None = "champion",
) -> Verdict:
    """Decides on a challenger by the scores of the gate patients.

    Args:
        challenger_scores: Scores of the gate patients by the challenger.
        champion_scores: Scores of the same patches by the champion; None: there is no champion.
        options: Rule, margins and minimums.
        evaluate: How patients are resampled; confidence and the minimum of patients are the gate's own.
        challenger: The challenger's version.
        champion: The champion's version.

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
    elif champion_scores is None:
        verdict, reasons = "PROMOTE", ["There is no champion yet.", checks[0].text]
    else:
        checks.append(check_gate_evidence(challenger_scores, options))
        if checks[1].passed:
            checks += _compare(champion_scores, challenger_scores, options, evaluate)
        verdict, reasons = _decide(checks, options)
    if checks[0].passed and not nobody:
        checks += check_context(champion_scores, challenger_scores, options, evaluate)
    return Verdict.model_validate(
        {
            "verdict": verdict,
            "reasons": reasons,
            "checks": checks,
            "challenger": challenger,
            "champion": champion,
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


def _decide(checks: list[Check], options: GateOptions) -> tuple[str, list[str]]:
    failed = [check for check in checks if check.enforced and not check.passed]
    auroc = next((check for check in checks if check.name == "auroc"), None)
    if auroc is not None and auroc.high is not None and auroc.high < -options.margin:
        return "REJECT", [f"The challenger is clearly worse. {auroc.text}"]
    if failed:
        return "HOLD", [check.text for check in failed]
    return "PROMOTE", [check.text for check in checks if check.enforced]
