"""The same metrics seen by hospital, by batch, and over the patients whom the scores serve worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.metrics.metrics import Resampled, make_estimate
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

Metrics = tuple[dict[str, Estimate], dict[str, Estimate]]
"""Pooled and patient-macro metrics."""

WORST_SHARE = 0.1
"""Share of the patients that `worst_tenth` is the mean of."""


class Subgroup(BaseModel):
    """A part of the sample, evaluated as a sample of its own.

    Attributes:
        name: The hospital or the batch.
        n_patches: Patches of it.
        n_patients: Patients of it.
        effective_patients: Kish's effective number of patients.
        prevalence: Share of patches labelled IDC.
        pooled: Metrics over all its patches.
        patient_macro: Metrics as means over its patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    n_patches: int
    n_patients: int
    effective_patients: float
    prevalence: float
    pooled: dict[str, Estimate]
    patient_macro: dict[str, Estimate]


def make_subgroups(resampled: Resampled, groups: Sequence[str] | np.ndarray, whole: Metrics) -> list[Subgroup]:
    """Evaluates each group of patches by itself, sorted by name.

    Args:
        resampled: The whole sample.
        groups: The group of each patch, shape (n,).
        whole: Pooled and patient-macro metrics of the whole sample, which are those of an only group.
    """
    names, code = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) == 1:
        return [_make_subgroup(str(names[0]), resampled.sample, whole)]
    subgroups = []
    for number, name in enumerate(names):
        part = Resampled.of(resampled.sample.select(code == number), resampled.options)
        subgroups.append(_make_subgroup(str(name), part.sample, (part.pooled(), part.patient_macro())))
    return subgroups


def _make_subgroup(name: str, sample: Sample, metrics: Metrics) -> Subgroup:
    return Subgroup(
        name=name,
        n_patches=len(sample.positive),
        n_patients=len(sample.patients),
        effective_patients=sample.effective_patients,
        prevalence=float(sample.positive.mean()),
        pooled=metrics[0],
        patient_macro=metrics[1],
    )


def worst_tenth(resampled: Resampled) -> Estimate:
    """Estimates the mean accuracy of the tenth of the patients with the lowest, each counting the same.

    A mean over a tail (Rockafellar and Uryasev 2000) and not the one lowest: that would fall with every patient who
    is added. Patients with fewer patches than a rate needs are left out.
    """
    n = resampled.tallies.n
    enough = n >= resampled.options.min_patches
    accuracy = resampled.by_patient("accuracy")
    order = np.flatnonzero(enough)[np.argsort(accuracy[enough], kind="stable")]

    def statistic(weights: Array) -> Array:
        drawn = weights[:, order]
        share = WORST_SHARE * drawn.sum(axis=1, keepdims=True)
        before = drawn.cumsum(axis=1) - drawn
        counted = np.clip(share - before, 0, drawn)
        return divide(counted @ accuracy[order], counted.sum(axis=1))

    return make_estimate(statistic, resampled.weights, np.where(enough, n, 0), resampled.options, leverage=enough)
