"""Whether patients could be some of those whom a bundle knows: all statistics together, by one permutation test.

The profiles of both are put together, and the patients in question are compared with the others by Hotelling's T²,
the distance of two means in all statistics at once, in units of how patients differ. Then as many patients are drawn
from all of them again and again: if those in question are like the others, they are as likely to be the farthest as
any, so that a p-value of at most .05 comes in at most 5 % of deliveries, however the statistics are distributed and
depend on each other. Of one patient, or one slide, every patient is drawn once, and the p-value is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.drift.profiles import Profile, Profiles

Floats = NDArray[np.float64]

FEWEST = 20
"""Patients of a bundle below which nothing is compared."""

_DRAWS = 999
_FARTHEST = 5.0  # standard deviations, beyond which a value counts as this far: one odd patient is not a direction
_INDEPENDENT = 0.2  # share of the covariance that is taken as if statistics did not depend on each other
_LEAST_BETWEEN = 0.1  # of the variance of means, that is taken to be between patients


@dataclass(frozen=True)
class Comparison:
    """How patients compare with those whom a bundle knows.

    Attributes:
        p: How likely patients who are like the others are as far from them, or farther.
        shifts: By statistic, how far they lie from the others on average, in standard deviations of a patient;
            the farthest first.
        patients: Patients, or slides, that were compared.
        known: Patients whom they were compared with.
    """

    p: float
    shifts: dict[str, float]
    patients: int
    known: int

    @property
    def largest(self) -> float:
        """The largest shift, whatever its direction."""
        return max((abs(shift) for shift in self.shifts.values()), default=0.0)


def compare(known: Profiles, found: Sequence[Profile]) -> Comparison | None:
    """Compares patients, or one slide, with those whom a bundle knows; None where these are fewer than `FEWEST`.

    Args:
        known: Profiles of the bundle's patients.
        found: Profiles of the patients in question, at least one.
    """
    if len(known.means) < FEWEST:
        return None
    theirs = known.table()
    ours = np.array([[one.means.get(name, np.nan) for name in known.statistics] for one in found], np.float64)
    sizes = np.array([*known.patches, *(one.patches for one in found)], np.float64)
    within = np.array(known.within)
    z = _standardise(np.concatenate([theirs, ours]), sizes, within)
    shifts = _find_shifts(theirs, ours, sizes, within)
    order = np.argsort(-np.abs(shifts))
    return Comparison(
        p=_permute(np.clip(z, -_FARTHEST, _FARTHEST), len(found)),
        shifts={known.statistics[at]: float(shifts[at]) for at in order},
        patients=len(found),
        known=len(theirs),
    )


def _permute(z: Floats, size: int) -> float:
    """Returns the share of draws of so many rows that are at least as far from the others as the last rows are."""
    n = len(z)
    if size == 1:
        drawn = np.eye(n)[::-1]
    else:
        random = np.random.default_rng(n * 1000 + size)  # the same again gives the same
        drawn = np.zeros((_DRAWS + 1, n))
        drawn[0, n - size :] = 1
        picked = np.argpartition(random.random((_DRAWS, n)), size - 1, axis=1)[:, :size]
        np.put_along_axis(drawn[1:], picked, 1, axis=1)
    covariance = np.atleast_2d(np.cov(z.T))
    own = np.diag(np.diag(covariance) + 1e-9)
    inverse = np.linalg.inv((1 - _INDEPENDENT) * covariance + _INDEPENDENT * own)
    inside = drawn @ z
    apart = inside / size - (z.sum(0) - inside) / (n - size)
    distance = np.einsum("ij,jk,ik->i", apart, inverse, apart)
    return float((distance >= distance[0] * (1 - 1e-9)).mean())


def _find_shifts(theirs: Floats, ours: Floats, sizes: Floats, within: Floats) -> Floats:
    centre, between = _describe(theirs, sizes[: len(theirs)], within)
    spread = np.sqrt(between + np.square(within) / sizes[len(theirs) :, None])
    return np.asarray(np.nan_to_num((ours - centre) / spread).mean(0))


def _standardise(means: Floats, sizes: Floats, within: Floats) -> Floats:
    """Returns how far each mean lies from the middle, in what one of so many patches varies; 0: not measured."""
    centre, between = _describe(means, sizes, within)
    return np.asarray(np.nan_to_num((means - centre) / np.sqrt(between + np.square(within) / sizes[:, None])))


def _describe(means: Floats, sizes: Floats, within: Floats) -> tuple[Floats, Floats]:
    """Returns the middle of patients and the variance between them, without what comes of few patches."""
    measured = ~np.isnan(means).all(0)
    centre, total = np.zeros(means.shape[1]), np.ones(means.shape[1])
    centre[measured], total[measured] = np.nanmedian(means[:, measured], 0), np.nanvar(means[:, measured], 0)
    between = total - np.square(within) * (1 / sizes).mean()
    return centre, np.maximum(np.maximum(between, _LEAST_BETWEEN * total), 1e-12)
