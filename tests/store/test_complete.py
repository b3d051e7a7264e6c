"""Complete slides: what a delivery declares, and what a person says of it later, with a name and a reason."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId, SlideId
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.complete import (
    CompleteSlide,
    declare_complete_slides,
    find_complete,
    list_complete_slides,
    record_complete,
)
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

LEE = SignOff("Dr Lee", "the whole slide was cut")
SLIDE = ("east", "8867", "5")


@pytest.fixture
def admitted(store: Store, store_batch) -> Store:
    declare_hospital(store, "east", "pseudonyms", LEE)
    store_batch(["8865", "8867"])
    return store


def test_a_person_declares_admitted_slides_complete(admitted: Store) -> None:
    assert declare_complete_slides(admitted, "8867", hospital="east", sign_off=LEE) == [SLIDE]
    assert list_complete_slides(admitted) == {SLIDE: "declared"}
    assert find_complete(admitted, Hospital("east"), PatientId("8867")) == {SLIDE}
    assert find_complete(admitted, Hospital("east"), PatientId("8865")) == frozenset()
    [row] = admitted.rows(sa.select(tables.completeness))
    assert SignOff.of(row._mapping) == LEE
    assert freeze_snapshot(admitted, SplitOptions()).complete == {SLIDE}


def test_the_same_again_changes_nothing_and_it_can_be_taken_back(admitted: Store) -> None:
    declare_complete_slides(admitted, "8867", hospital=None, slides=["5"], sign_off=LEE)
    assert declare_complete_slides(admitted, "8867", hospital=None, sign_off=SignOff("Mary", "again")) == []
    assert declare_complete_slides(admitted, "8867", hospital=None, complete=False, sign_off=LEE) == [SLIDE]
    assert list_complete_slides(admitted) == {}
    assert declare_complete_slides(admitted, "8867", hospital=None, complete=False, sign_off=LEE) == []
    assert declare_complete_slides(admitted, "8867", hospital=None, sign_off=LEE) == [SLIDE]
    assert list_complete_slides(admitted) == {SLIDE: "declared"}
    assert len(admitted.rows(sa.select(tables.completeness))) == 3


def test_a_person_has_the_last_word_over_what_a_delivery_said(admitted: Store) -> None:
    with admitted.write() as connection:
        record_complete(connection, "east", 1, [CompleteSlide(PatientId("8867"), SlideId("5"), "tiled")])
    assert declare_complete_slides(admitted, "8867", hospital=None, sign_off=LEE) == []
    assert list_complete_slides(admitted) == {SLIDE: "tiled"}
    assert declare_complete_slides(admitted, "8867", hospital=None, complete=False, sign_off=LEE) == [SLIDE]
    assert list_complete_slides(admitted) == {}


def test_an_unknown_patient_or_slide_is_refused_and_nothing_is_entered(admitted: Store) -> None:
    with pytest.raises(BcdError, match=r"\b7\b.*\b5\b"):
        declare_complete_slides(admitted, "8867", hospital="east", slides=["5", "7"], sign_off=LEE)
    with pytest.raises(BcdError):
        declare_complete_slides(admitted, "1", hospital="east", sign_off=LEE)
    assert list_complete_slides(admitted) == {}
