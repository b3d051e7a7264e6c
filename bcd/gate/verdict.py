"""What the gate found and decided: the ledger of checks, as data and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.report.tables import METRIC_NAMES
from bcd.formats import format_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bcd.bundle.registry import Bundle

_SHOWN = ("auroc", "recall", "specificity")


def describe_verdict_record(bundle: Bundle) -> str:
    """Says in a sentence what a bundle's record holds of its test patients."""
    return describe_verdict_figures(bundle.name, bundle.record.metrics)


def describe_verdict_figures(name: str, figures: Mapping[str, float], split: str = "test") -> str:
    """Says in a sentence what flat metrics (`test_auroc_pooled`, …) hold of a split's patients."""
    shown = []
    for metric in _SHOWN:
        known = [figures.get(f"{split}_{metric}_pooled{end}") for end in ("", "_low", "_high")]
        if known[0] is not None:
            value, low, high = known
            estimate = Estimate(value=value, low=low, high=high, n_patches=0, n_patients=0)
            shown.append(f"{METRIC_NAMES[metric]} {format_estimate(estimate)}")
    patients = figures.get(f"{split}_patients")
    of = f"{patients:.0f} {split} patients" if patients else f"{split} patients"
    if shown:
        return f"{name} on {of}: {', '.join(shown)}."
    return f"{name}: {of} are too few for a figure." if patients else f"{name}: nothing is known of {split} patients."


class Check(BaseModel):
    """One condition of the gate.

    Attributes:
        name: Short name, stable.
        passed: Whether the condition holds.
        enforced: Whether a promotion needs it.
        text: The condition and what was found, as a sentence.
        value: The figure that was compared, where there is one.
        low: Lower end of its interval.
        high: Upper end of its interval.
        limit: What the figure is held against, where there is one: it must lie above, or below a positive one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    enforced: bool
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


class Verdict(BaseModel):
    """What the gate decided, and why.

    Attributes:
        verdict: PROMOTE, HOLD or REJECT.
        reasons: Sentences with the figures that decided it.
        checks: Every condition, also those that did not decide.
        challenger: Version of the model in question.
        champion: Version of the model it was compared with; None: there was none.
        anchor: Version of the anchor that it was compared with; None: there was none.
        confirmed: Whether it becomes the anchor if it is promoted: it was shown to be better, or is the first.
        rule: The rule that decided.
        reported: What is reported of each, in sentences; of test patients, who decide nothing.
        awaits_approval: Whether a person has to approve before the promotion is carried out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["PROMOTE", "HOLD", "REJECT"]
    reasons: list[str]
    checks: list[Check]
    challenger: str
    champion: str | None
    anchor: str | None = None
    confirmed: bool = False
    rule: str = "non-inferior"
    reported: list[str] = []
    awaits_approval: bool = False

    def markdown(self) -> str:
        """Renders the verdict with its ledger of checks."""
        lines = [f"## {self.title}", ""]
        if self.awaits_approval:
            lines += ["**A person has to approve this promotion before it is carried out.**", ""]
        lines += [*(f"- {reason}" for reason in self.reasons), "", "| check | holds | needed | found |"]
        lines.append("| --- | --- | --- | --- |")
        lines += [
            f"| {c.name} | {'yes' if c.passed else '**no**'} | {'yes' if c.enforced else 'no'} | {c.text} |"
            for c in self.checks
        ]
        if self.reported:
            lines += ["", "Reported, of test patients, who decided nothing:", ""]
            lines += [f"- {sentence}" for sentence in self.reported]
        return "\n".join(lines) + "\n"

    @property
    def title(self) -> str:
        """The verdict in a line."""
        against = "no champion" if self.champion is None else f"champion {self.champion}"
        return f"{self.verdict}: challenger {self.challenger} against {against}"

    def check(self, name: str) -> Check:
        """Returns the check of that name."""
        return next(check for check in self.checks if check.name == name)
