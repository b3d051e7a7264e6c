"""The outcome of a patient, one of three, by one rule; research use only.

- IDC found: at least `min_idc_patches` patches are confidently IDC.
- IDC not found: fewer are, there are at least `min_patches`, and nearly all of them are confident.
- Not enough confident patches: everything else. What is uncertain may be tumour, so that it says nothing.

On the public set the outcome is descriptive: nearly all of its patients have IDC, so it cannot say how often somebody
without it is told so. The defaults were chosen on made-up patients with and without tumour: see
docs/explanation/numbers.md.

Examples:
    >>> decide_outcome(confident_idc=5, confident=20, patches=100, rule=OutcomeRule())
    'IDC found'
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bcd.options import Options, Patches, Probability, Share

Outcome = Literal["IDC found", "IDC not found", "Not enough confident patches"]

FOUND: Outcome = "IDC found"
NOT_FOUND: Outcome = "IDC not found"
UNDECIDED: Outcome = "Not enough confident patches"

OUTCOMES: tuple[Outcome, ...] = (FOUND, NOT_FOUND, UNDECIDED)


class OutcomeRule(Options):
    """When IDC counts as found in a patient, and when as not found."""

    level: Probability = Field(
        0.95, gt=0.5, lt=1, description="Confidence from which on a patch counts as confident."
    )
    min_idc_patches: Patches = Field(3, ge=1, description="Confident IDC patches from which on IDC is found.")
    min_coverage: Share = Field(
        0.9, ge=0, le=1, description="Share of confident patches from which on IDC can be not found."
    )
    min_patches: Patches = Field(30, ge=1, description="Patches from which on IDC can be not found.")

    def __str__(self) -> str:
        return (
            f"{FOUND}: at least {self.min_idc_patches} patches are IDC at a confidence of {100 * self.level:g} %. "
            f"{NOT_FOUND}: fewer, and at least {100 * self.min_coverage:g} % of at least {self.min_patches} "
            f"patches are confident. {UNDECIDED}: all else."
        )


def decide_outcome(*, confident_idc: int, confident: int, patches: int, rule: OutcomeRule) -> Outcome:
    """Decides the outcome of one patient.

    Args:
        confident_idc: Patches called IDC with confidence.
        confident: Confident patches, either way.
        patches: All patches of the patient.
        rule: The minimums.
    """
    if confident_idc >= rule.min_idc_patches:
        return FOUND
    return NOT_FOUND if patches >= rule.min_patches and confident >= rule.min_coverage * patches else UNDECIDED
