"""What a bundle keeps of its patients: means by patient, and nothing of who they are."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.drift.profiles import MOST_PATIENTS, Profiles
from bcd.patches import Hospital


def test_a_row_is_a_patient_and_within_is_how_patches_of_one_vary() -> None:
    found = Profiles.of(["tissue"], {"tissue": [1.0, 3.0, 7.0, 9.0]}, ["b/2", "b/2", "a/1", "a/1"])
    assert found.means == ((8.0,), (2.0,))
    assert (found.hospitals, found.patches) == (("a", "b"), (2, 2))
    assert found.within[0] == pytest.approx(np.sqrt(2), rel=1e-4)


def test_rows_are_in_an_order_that_tells_nothing_and_name_nobody() -> None:
    values, patients = {"tissue": [3.0, 1.0, 2.0]}, ["a/alice", "a/bob", "a/carol"]
    found = Profiles.of(["tissue"], values, patients)
    assert found == Profiles.of(["tissue"], {"tissue": [2.0, 3.0, 1.0]}, ["a/dora", "a/erna", "a/fay"])
    assert "alice" not in found.model_dump_json()


def test_what_could_not_be_measured_is_left_out_and_survives_json() -> None:
    found = Profiles.of(["tissue", "eosin"], {"tissue": [1.0, 2.0]}, ["a/1", "a/2"], eosin=[np.nan, 0.5])
    assert found.means == ((1.0, None), (2.0, 0.5))
    assert np.isnan(found.table()[0, 1])
    assert Profiles.model_validate_json(found.model_dump_json()) == found


def test_of_very_many_patients_some_are_kept_evenly() -> None:
    n = 3 * MOST_PATIENTS
    found = Profiles.of(["tissue"], {"tissue": np.arange(n, dtype=float)}, [f"a/{number:05d}" for number in range(n)])
    assert len(found.means) == MOST_PATIENTS
    assert found.table().mean() == pytest.approx((n - 1) / 2, rel=0.01)


def test_patients_of_one_hospital() -> None:
    found = Profiles.of(["tissue"], {"tissue": [1.0, 2.0, 3.0]}, ["a/1", "b/1", "b/2"])
    assert found.of_hospital(Hospital("b")).means == ((2.0,), (3.0,))
    assert found.of_hospital(Hospital("c")).means == ()
