from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bcd.drift.profiles import Profile, Profiles
from bcd.drift.state import Known

PATCHES = 20


def draw_patients(n: int, *, seed: int, shift: Sequence[float] = (0, 0, 0), patches: int = PATCHES) -> np.ndarray:
    """Values of patches, (n, patches, 3): patients differ by 1, 1 and 2, patches of one patient by 2."""
    random = np.random.default_rng(seed)
    between = random.normal(0, [1, 1, 2], (n, 1, 3)) + np.asarray(shift)
    return between + random.normal(0, 2, (n, patches, 3))


def make_profiles(values: np.ndarray, names: Sequence[str] = ("contrast", "tissue", "eosin"), hospital: str = "east"):
    patients = np.repeat([f"{hospital}/{number:04d}" for number in range(len(values))], values.shape[1])
    flat = dict(zip(names, values.reshape(-1, len(names)).T, strict=True))
    return Profiles.of(names, flat, patients)


def make_found(values: np.ndarray, names: Sequence[str] = ("contrast", "tissue", "eosin")) -> list[Profile]:
    return [Profile(len(one), dict(zip(names, one.mean(0).tolist(), strict=True))) for one in values]


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    return draw_patients


@pytest.fixture
def found() -> Callable[..., list[Profile]]:
    return make_found


@pytest.fixture
def profiles() -> Callable[..., Profiles]:
    return make_profiles


@pytest.fixture(scope="session")
def known() -> Known:
    """Eighty patients of east: what their pictures are like, and their scores."""
    scores = ("logit", "probability", "abstained")
    return Known(
        pictures=make_profiles(draw_patients(80, seed=1)), scores=make_profiles(draw_patients(80, seed=2), scores)
    )
