"""Sums over patches, a row a patient: what is a sum is resampled by one matrix product.

`tallies.total(weights)` gives the sums of every resample at once, and a metric is the same formula on the
sample, on each patient and on each resample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.calls import is_idc
from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.metrics.sample import Sample

BINS = 10
"""Bins of equal width of the reliability plot and the calibration error."""

_COUNTS = 5


@dataclass(frozen=True)
class Tallies:
    """Sums over patches: confusion counts, squared error, and per bin the patches, labels and probabilities.

    Attributes:
        table: The sums, shape (..., 5 + 3 * BINS).
    """

    table: Array

    def total(self, weights: Array | None = None) -> Tallies:
        """Sums over patients: once, shape (1, …), or for each row of weights, shape (resamples, patients)."""
        return Tallies(self.table.sum(axis=0, keepdims=True) if weights is None else weights @ self.table)

    @property
    def tp(self) -> Array:
        """Patches of IDC called IDC."""
        return self.table[..., 0]

    @property
    def fp(self) -> Array:
        """Patches without IDC called IDC."""
        return self.table[..., 1]

    @property
    def tn(self) -> Array:
        """Patches without IDC called so."""
        return self.table[..., 2]

    @property
    def fn(self) -> Array:
        """Patches of IDC called none."""
        return self.table[..., 3]

    @property
    def squared_error(self) -> Array:
        """Sum of (probability - label)^2."""
        return self.table[..., 4]

    @property
    def positive(self) -> Array:
        """Patches labelled IDC."""
        return self.tp + self.fn

    @property
    def negative(self) -> Array:
        """Patches labelled as without IDC."""
        return self.tn + self.fp

    @property
    def n(self) -> Array:
        """Patches."""
        return self.positive + self.negative

    def bins(self) -> tuple[Array, Array, Array]:
        """Returns patches, patches of IDC, and sum of probabilities by bin, each of shape (..., BINS)."""
        bins = self.table[..., _COUNTS:]
        return bins[..., :BINS], bins[..., BINS : 2 * BINS], bins[..., 2 * BINS :]


def tally_by_patient(sample: Sample, keep: NDArray[np.bool_] | None = None) -> Tallies:
    """Sums a sample by patient.

    Args:
        sample: The patches.
        keep: Which patches to count, shape (n,); None: all. Patients of which none is kept stay, with zeros.
    """
    keep = np.ones(len(sample.positive), dtype=bool) if keep is None else keep
    positive, p, patient = sample.positive[keep], sample.probability[keep], sample.patient[keep]
    called = is_idc(p)
    n_patients = len(sample.patients)

    def by_patient(values: NDArray[Any]) -> Array:
        return np.bincount(patient, weights=values, minlength=n_patients).astype(np.float64)

    def by_bin(values: NDArray[Any]) -> Array:
        cell = patient * BINS + _find_bin(p)
        sums = np.bincount(cell, weights=values, minlength=n_patients * BINS)
        return sums.reshape(n_patients, BINS).astype(np.float64)

    counts = [positive & called, ~positive & called, ~positive & ~called, positive & ~called]
    columns = [by_patient(values) for values in [*counts, (p - positive) ** 2]]
    blocks = [by_bin(values) for values in [np.ones(len(p)), positive, p]]
    return Tallies(np.concatenate([np.stack(columns, axis=1), *blocks], axis=1))


def _find_bin(probability: Array) -> NDArray[np.intp]:
    """Returns the bin of each probability; the last bin includes 1."""
    return np.minimum((probability * BINS).astype(np.intp), BINS - 1)
