from __future__ import annotations

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.patients import find_hospital, list_patients, list_stored_patches
from bcd.store.sign_off import SignOff
from bcd.store.store import Store


def _revise(store: Store, patient: str, x: int, label: int | None) -> None:
    cell = {"hospital": "east", "patient": patient, "slide": "5", "x": x, "y": 51}
    with store.write() as connection:
        connection.execute(
            sa.insert(tables.label_revisions).values(**cell, label=label, **vars(SignOff("a test", "because")))
        )


def test_the_same_identifier_in_two_hospitals_is_two_people(store: Store, store_batch) -> None:
    store_batch(["1001"], hospital="east", labels=(0, 1, 1))
    store_batch(["1001"], hospital="west", labels=(0,))
    assert len(list_stored_patches(store, Hospital("west"), PatientId("1001"))) == 1
    assert len(list_patients(store)) == 2
    with pytest.raises(BcdError, match=r"east, west.*--hospital"):
        find_hospital(store, PatientId("1001"), None)
    assert find_hospital(store, PatientId("1001"), "west") == "west"


def test_a_patient_of_one_hospital_is_found_without_naming_it(store: Store, store_batch) -> None:
    store_batch(["1001"], hospital="west")
    assert find_hospital(store, PatientId("1001"), None) == "west"


def test_an_unknown_patient_is_answered_with_near_ones(store: Store, store_batch) -> None:
    store_batch(["8867", "9999"])
    with pytest.raises(NotFoundError, match=r"\b8868\b.*\beast\b.*\b8867\b"):
        list_stored_patches(store, Hospital("east"), PatientId("8868"))
    with pytest.raises(NotFoundError, match="8868"):
        find_hospital(store, PatientId("8868"), None)
    with pytest.raises(NotFoundError, match="north"):
        find_hospital(store, PatientId("8867"), "north")


def test_the_latest_revision_of_a_label_counts(store: Store, store_batch) -> None:
    store_batch(["a"], labels=(0, 0, None))
    for x, label in ((1, 1), (1, 0), (51, None), (101, 1)):
        _revise(store, "a", x, label)
    patches = list_stored_patches(store, Hospital("east"), PatientId("a"))
    assert patches["label"].astype(object).where(patches["label"].notna(), None).tolist() == [0, None, 1]
    assert list_patients(store).iloc[0][["patches", "labelled", "positive"]].tolist() == [3, 2, 1]


def test_a_patient_without_labels_has_patches_too(store: Store, store_batch) -> None:
    store_batch(["a"], labels=(None, None))
    patches = list_stored_patches(store, Hospital("east"), PatientId("a"))
    assert patches.columns.tolist() == ["hospital", "patient", "slide", "x", "y", "label", "batch", "row"]
    assert patches["label"].isna().all()
    assert str(patches["label"].dtype) == "Int8"
