"""The gate: does a challenger become champion? A pure judgement of scores of the same gate patients.

The rule is `non-inferior`. With d = challenger minus champion, and its interval by resampling patients:

- PROMOTE when the lower end of d for AUROC is above -margin and d itself is not below 0, and (where enforced)
  the lower ends for recall and specificity are above -rate_margin.
- REJECT when the upper end of d for AUROC is below -margin: clearly worse.
- HOLD otherwise, and always when the gate split has too few patients or one class.

Without a champion, a challenger that scores the gate patients is promoted, and the verdict says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.tables import METRIC_NAMES, format_difference
from bcd.registry.options import GateOptions

if TYPE_CHECKING:
    import pandas as pd

    from bcd.evaluation.estimates import Difference

__all__ = ["Check", "GateOptions", "Verdict", "judge"]


class Check(BaseModel):
    """One condition of the gate.

    Attributes:
        name: Short name, stable.
        passed: Whether the condition holds.
        enforced: Whether a promotion needs it.
        text: The condition and what was found, as a sentence.
        value: The figure that was judged, where there is one.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    enforced: bool
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Verdict(BaseModel):
    """What the gate decided, and why.

    Attributes:
        verdict: PROMOTE, HOLD or REJECT.
        reasons: Sentences with the figures that decided it.
        checks: Every condition, also those that did not decide.
        challenger: Version of the model in question.
        champion: Version of the model it was compared with; None: there was none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["PROMOTE", "HOLD", "REJECT"]
    reasons: list[str]
    checks: list[Check]
    challenger: str
    champion: str | None

    def markdown(self) -> str:
        """Renders the verdict with its checks."""
        against = "no champion" if self.champion is None else f"champion {self.champion}"
        lines = [f"## {self.verdict}: challenger {self.challenger} against {against}", ""]
        lines += [*(f"- {reason}" for reason in self.reasons), "", "| check | holds | needed | found |"]
        lines.append("| --- | --- | --- | --- |")
        lines += [
            f"| {c.name} | {'yes' if c.passed else '**no**'} | {'yes' if c.enforced else 'no'} | {c.text} |"
            for c in self.checks
        ]
        return "\n".join(lines) + "\n"


def judge(
    challenger_scores: pd.DataFrame,
    champion_scores: pd.DataFrame | None,
    options: GateOptions,
    evaluate: EvaluateOptions,
    *,
    challenger: str = "challenger",
    champion: str | None = "champion",
) -> Verdict:
    """Judges a challenger by the scores of the gate patients.

    Args:
        challenger_scores: Scores of the gate patients by the challenger.
        champion_scores: Scores of the same patches by the champion; None: there is no champion.
        options: Margins and minimum.
        evaluate: How intervals are made.
        challenger: The challenger's version.
        champion: The champion's version.

    Raises:
        BcdError: The two frames are not of the same patches.
    """
    champion = None if champion_scores is None else champion
    checks = [_scores_are_usable(challenger_scores)]
    if not checks[0].passed:
        verdict, reasons = "REJECT", [checks[0].text]
    elif champion_scores is None:
        verdict, reasons = "PROMOTE", ["There is no champion yet.", checks[0].text]
    else:
        checks.append(_evidence_suffices(challenger_scores, options))
        if checks[1].passed:
            checks += _compare(champion_scores, challenger_scores, options, evaluate)
        verdict, reasons = _decide(checks, options)
    return Verdict.model_validate(
        {
            "verdict": verdict,
            "reasons": reasons,
            "checks": checks,
            "challenger": challenger,
            "champion": champion,
        }
    )


def _decide(checks: list[Check], options: GateOptions) -> tuple[str, list[str]]:
    failed = [check for check in checks if check.enforced and not check.passed]
    auroc = next((check for check in checks if check.name == "auroc"), None)
    if auroc is not None and auroc.high is not None and auroc.high < -options.margin:
        return "REJECT", [f"The challenger is clearly worse. {auroc.text}"]
    if failed:
        return "HOLD", [check.text for check in failed]
    return "PROMOTE", [check.text for check in checks if check.enforced]


def _scores_are_usable(scores: pd.DataFrame) -> Check:
    bad = int((~np.isfinite(scores["probability"].to_numpy(dtype=np.float64))).sum())
    patients = _count_patients(scores)
    if scores.empty:
        text = "The challenger could not be tried: the gate split has no patch."
    elif bad:
        text = f"The challenger gave {bad} of {len(scores)} gate patches no finite probability."
    else:
        text = f"The challenger was loaded from the registry and scored {_say(patients, len(scores))}."
    return Check(name="scores", passed=bad == 0 and len(scores) > 0, enforced=True, text=text)


def _evidence_suffices(scores: pd.DataFrame, options: GateOptions) -> Check:
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
        text = f"Both were judged on {_say(found['patches'], len(scores))}; it takes {wanted} patients."
    return Check(name="evidence", passed=not short, enforced=True, text=text, value=float(min(found.values())))


def _compare(
    champion: pd.DataFrame, challenger: pd.DataFrame, options: GateOptions, evaluate: EvaluateOptions
) -> list[Check]:
    from bcd.evaluation.compare import compare_scores

    # One minimum, the gate's: evaluation would give no interval under its own.
    evaluate = evaluate.model_copy(update={"min_patients": options.min_patients})
    differences = compare_scores(champion, challenger, evaluate)
    auroc = differences["auroc"]
    not_worse = auroc.value is not None and auroc.value >= 0
    return [
        _clears("auroc", auroc, options.margin, enforced=True),
        Check(
            name="not worse",
            passed=not_worse,
            enforced=True,
            text=f"The AUROC itself must not be lower: it differs by {format_difference(auroc)}"
            f"{'' if not_worse else ', which is lower'}.",
            value=auroc.value,
            low=auroc.low,
            high=auroc.high,
        ),
        *(
            _clears(name, differences[name], options.rate_margin, enforced=options.enforce_rates)
            for name in ("recall", "specificity")
        ),
        *(_report(name, differences[name]) for name in ("accuracy", "brier")),
    ]


def _clears(name: str, difference: Difference, margin: float, *, enforced: bool) -> Check:
    passed = difference.low is not None and difference.low > -margin
    found = f"{METRIC_NAMES[name]} differs by {format_difference(difference)} from the champion's"
    if difference.low is None:
        basis = _say(difference.n_patients, difference.n_patches)
        end = f"{basis} give no interval: insufficient evidence"
    else:
        least = f"−{margin:.3f}".replace("0.", ".")  # noqa: RUF001
        end = f"its lower end must stay above {least}: it {'does' if passed else 'does not'}"
    return _check(name, difference, f"{found}; {end}.", passed=passed, enforced=enforced)


def _report(name: str, difference: Difference) -> Check:
    text = f"{METRIC_NAMES[name]} differs by {format_difference(difference)}; reported only."
    return _check(name, difference, text, passed=True, enforced=False)


def _check(name: str, difference: Difference, text: str, *, passed: bool, enforced: bool) -> Check:
    return Check(
        name=name,
        passed=passed,
        enforced=enforced,
        text=f"{text[0].upper()}{text[1:]}",
        value=difference.value,
        low=difference.low,
        high=difference.high,
    )


def _count_patients(scores: pd.DataFrame) -> int:
    return len(scores[["hospital", "patient"]].drop_duplicates())


def _say(patients: int, patches: int) -> str:
    return f"{patches:,} patches of {patients} patients"
