from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from bcd.patches import Hospital, PatientId
from bcd.scoring.exposure import find_scored_exposure
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions


def exposure(store, snapshot, patient):
    record = SimpleNamespace(snapshot=snapshot)
    return find_scored_exposure(
        store,
        record,
        hospital=Hospital("east"),
        patient=PatientId(patient),
        protocol="dealt",
    )


def admit_patients(store, make_patches, patients, labels=(1, 0)):
    made = [make_patches([(0, 0), (1, 0)], patient=one, labels=labels, seed=int(one)) for one in patients]
    store.admit(pd.concat([patches for patches, _ in made]), np.concatenate([pixels for _, pixels in made]))


TWELVE = [f"1{n:03}" for n in range(12)]


def test_the_split_says_what_the_scores_are_worth(store, make_patches):
    admit_patients(store, make_patches, TWELVE)
    snapshot = freeze_snapshot(store, SplitOptions())
    for split, unseen, said in [
        ("train", False, "was trained on this patient"),
        ("val", False, "calibration and thresholds"),
        ("gate", False, "the gate decided on it"),
        ("test", True, "Never seen in training"),
    ]:
        found = exposure(store, snapshot.id, snapshot.of(split)["patient"].iloc[0])
        assert (found.split, found.unseen) == (split, unseen)
        assert said in found.statement


def test_an_unlabelled_patient_was_never_seen(store, make_patches):
    admit_patients(store, make_patches, ["1001", "1002"])
    admit_patients(store, make_patches, ["2001"], (None, None))
    snapshot = freeze_snapshot(store, SplitOptions())
    found = exposure(store, snapshot.id, "2001")
    assert (found.split, found.unseen) == (None, True)
    assert found.statement != exposure(store, snapshot.id, "1001").statement


def test_a_patient_dealt_after_the_bundles_snapshot_was_never_seen_by_it(store, make_patches):
    admit_patients(store, make_patches, ["1001", "1002"])
    old = freeze_snapshot(store, SplitOptions())
    admit_patients(store, make_patches, [f"3{n:03}" for n in range(12)])
    new = freeze_snapshot(store, SplitOptions())
    trained = new.of("train")
    patient = trained.loc[~trained["patient"].isin(["1001", "1002"]), "patient"].iloc[0]
    assert exposure(store, new.id, patient).unseen is False
    found = exposure(store, old.id, patient)
    assert (found.split, found.unseen) == ("train", True)
    assert found.statement != exposure(store, new.id, patient).statement


def test_where_the_snapshot_is_gone_the_split_decides(store, make_patches):
    admit_patients(store, make_patches, TWELVE)
    snapshot = freeze_snapshot(store, SplitOptions())
    patient = snapshot.of("train")["patient"].iloc[0]
    assert exposure(store, "f" * 64, patient).unseen is False
