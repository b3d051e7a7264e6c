"""Options of the gate: by how much a challenger may be worse, and how many patients it takes to say so."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from bcd.options import Options, Patients, Probability, Share, Unit
from bcd.store.sign_off import LONGEST


class GateOptions(Options):
    """When a challenger replaces the champion, compared by patient on the gate split."""

    rule: Literal["non-inferior", "superior"] = Field(
        "non-inferior",
        description="non-inferior: not worse by the margin, nor on average. superior: better, at the lower end.",
    )
    margin: Annotated[float, Unit("AUROC")] = Field(
        0.02,
        gt=0,
        lt=0.5,
        description="The AUROC may be worse by less than this, at the interval's lower end.",
    )
    rate_margin: Annotated[float, Unit("rate")] = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="The same for recall and for specificity at a probability of one half.",
    )
    enforce_rates: bool = Field(
        True, description="Hold a challenger whose recall or specificity may be worse; else only report it."
    )
    min_patients: Patients = Field(
        10,
        ge=2,
        description="Gate patients, with patches of each class, below which the evidence is insufficient.",
    )
    confidence: Probability = Field(
        0.97,
        gt=0.5,
        lt=1,
        description="Confidence of the gate's two-sided intervals; 97 % keeps wrong promotions below 5 % of runs.",
    )
    budget: Probability = Field(
        0.025,
        gt=0,
        lt=0.5,
        description="Probability, over all looks of a home's life, of ever promoting a version that is worse than the"
        " anchor by the margin; 2.5 % by Student's intervals keeps it below 5 %.",
    )
    half_budget_at: Patients = Field(
        20, ge=1, description="Gate patients who unlock half of the budget; every new one unlocks more."
    )
    look_share: Share = Field(
        0.1, gt=0, lt=1, description="Share of the unlocked, unspent budget that a look at gate patients spends."
    )
    calibration_margin: Annotated[float, Unit("calibration error")] = Field(
        0.03, gt=0, lt=0.5, description="By how much the calibration error may be higher, after shrinkage."
    )
    coverage_margin: Share = Field(
        0.1, gt=0, lt=1, description="By how much coverage at a confidence of 95 % may be lower, after shrinkage."
    )
    hospital_margin: Annotated[float, Unit("AUROC")] = Field(
        0.05, gt=0, lt=0.5, description="By how much AUROC may be lower at any one hospital, after shrinkage."
    )
    patient_margin: Annotated[float, Unit("accuracy")] = Field(
        0.25, gt=0, lt=1, description="By how much accuracy may be lower in any one patient, after shrinkage."
    )
    enforce_from: Patients = Field(
        30,
        ge=2,
        description="Gate patients, for a hospital's check of that hospital, from which shrunk checks are enforced.",
    )
    approval: bool = Field(False, description="Whether a person must approve a promotion before it is carried out.")
    # What counts is the list at the time of the sign-off, in bcd.toml: it is no part of a plan, and in no form.
    approvers: SkipJsonSchema[list[Annotated[str, Field(min_length=1, max_length=LONGEST["by"])]]] = Field(
        [],
        exclude=True,
        description="The names of those who may approve, force or roll back a promotion; empty: anybody may.",
    )
