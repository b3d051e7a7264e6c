from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from patients import list_patches, store_patches

from bcd.bundle.reference import describe_training, measure_reference_scores
from bcd.drift.profiles import Profile, Profiles
from bcd.drift.state import Known
from bcd.settings import Settings
from bcd.store.deliveries import Delivery
from bcd.store.delivery_queries import match_stored_delivery
from bcd.store.store import Store, open_store

PATCHES = 20


def draw_profile_values(
    n: int, *, seed: int, shift: Sequence[float] = (0, 0, 0), patches: int = PATCHES
) -> np.ndarray:
    """Values of patches, (n, patches, 3): patients differ by 1, 1 and 2, patches of one patient by 2."""
    random = np.random.default_rng(seed)
    between = random.normal(0, [1, 1, 2], (n, 1, 3)) + np.asarray(shift)
    return between + random.normal(0, 2, (n, patches, 3))


def make_profiles(values: np.ndarray, names: Sequence[str] = ("contrast", "tissue", "eosin"), hospital: str = "east"):
    patients = np.repeat([f"{hospital}/{number:04d}" for number in range(len(values))], values.shape[1])
    flat = dict(zip(names, values.reshape(-1, len(names)).T, strict=True))
    return Profiles.of(names, flat, patients)


def make_found(values: np.ndarray, names: Sequence[str] = ("contrast", "tissue", "eosin")) -> list[Profile]:
    return [Profile(patches=len(one), means=dict(zip(names, one.mean(0).tolist(), strict=True))) for one in values]


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    return draw_profile_values


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
        pictures=make_profiles(draw_profile_values(80, seed=1)),
        scores=make_profiles(draw_profile_values(80, seed=2), scores),
    )


def paint_patients(patients: int, *, seed: int, light: float = 0, patches: int = 6) -> np.ndarray:
    """Patches of patients who differ in colour by 6, (patients * patches, 50, 50, 3); `light` is added to all."""
    random = np.random.default_rng(seed)
    colour = np.array([170.0, 110.0, 160.0]) + random.normal(0, 6, (patients, 1, 1, 1, 3)) + light
    pixels = colour + random.normal(0, 25, (patients, patches, 50, 50, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8).reshape(-1, 50, 50, 3)


@pytest.fixture(scope="session")
def painted() -> Known:
    """Forty painted patients of east, and their scores."""
    pixels, patients = paint_patients(40, seed=0), np.repeat([f"east/{number}" for number in range(40)], 6)
    logits = np.random.default_rng(0).normal(0, 2, len(pixels))
    scores = measure_reference_scores(logits, 1 / (1 + np.exp(-logits)), patients)
    known = describe_training(lambda rows: pixels[rows], patients, scores).known
    assert known is not None
    return known


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(Settings(home=tmp_path / "home"))


@pytest.fixture
def deliver(store: Store) -> Callable[..., Delivery]:
    """Admits painted patients as a delivery."""

    def admit(name: str, patients: int = 10, *, hospital: str = "east", **how) -> Delivery:
        pixels = paint_patients(patients, **{"seed": len(name)} | how)
        listed = list_patches([f"{name}-{number:02d}" for number in range(patients)], [0] * 6, hospital=hospital)
        store_patches(store, listed, pixels, name=name)
        return match_stored_delivery(store, name)

    return admit


@pytest.fixture
def paint() -> Callable[..., np.ndarray]:
    return paint_patients
