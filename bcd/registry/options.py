"""Options of the gate: by how much a challenger may be worse, and how many patients it takes to say so."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options


class GateOptions(Options):
    """When a challenger replaces the champion: rule `non-inferior`, judged by patient on the gate split."""

    margin: float = Field(
        0.02,
        gt=0,
        lt=0.5,
        description="The AUROC may be worse by less than this, at the interval's lower end.",
    )
    rate_margin: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="The same for recall and for specificity at a probability of one half.",
    )
    enforce_rates: bool = Field(
        True, description="Hold a challenger whose recall or specificity may be worse; else only report it."
    )
    min_patients: int = Field(
        10,
        ge=2,
        description="Gate patients, with patches of each class, below which the evidence is insufficient.",
    )
