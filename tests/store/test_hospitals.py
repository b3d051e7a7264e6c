from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital
from bcd.store import tables
from bcd.store.hospitals import (
    check_hospital,
    declare_hospital,
    find_declared_hospital,
    list_hospitals,
    store_coarse_limit,
)
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

CAMERA = SignOff("Dr Lee", "a microscope's camera")


def test_a_hospital_is_declared_once_and_again_changes_nothing(store: Store) -> None:
    first = declare_hospital(store, "east", "raw", SignOff("Mary", "test"))
    assert declare_hospital(store, "east", "raw", SignOff("John", "test")) == first
    assert find_declared_hospital(store, "east") == first
    assert (first.identifiers, first.declared.by, first.key_fingerprint) == ("raw", "Mary", None)


def test_what_was_declared_is_never_changed(store: Store) -> None:
    declare_hospital(store, "east", "raw", SignOff("Mary", "test"))
    with pytest.raises(BcdError, match=r"`raw` .*Mary"):
        declare_hospital(store, "east", "pseudonyms", SignOff("John", "test"))
    assert find_declared_hospital(store, "east").identifiers == "raw"


def test_an_undeclared_hospital_is_answered_with_the_command_and_near_names(store: Store) -> None:
    declare_hospital(store, "northern", "raw", SignOff("Mary", "test"))
    with pytest.raises(BcdError, match=r"`bcd hospital declare nothern --identifiers pseudonyms.*\bnorthern\b"):
        find_declared_hospital(store, "nothern")


def test_hospitals_are_listed_by_name(store: Store) -> None:
    for name in ("west", "East", "north"):
        declare_hospital(store, name, "pseudonyms", SignOff("Mary", "test"))
    assert [record.hospital for record in list_hospitals(store)] == ["East", "north", "west"]


def test_names_that_differ_by_case_only_are_one_hospital_and_its_declared_spelling_is_asked_for(store: Store) -> None:
    declare_hospital(store, "Charite", "raw", SignOff("Mary", "test"))
    with pytest.raises(BcdError, match=r"\bCHARITE\b.*\bCharite\b"):
        declare_hospital(store, "CHARITE", "raw", SignOff("Mary", "test"))
    with pytest.raises(BcdError, match=r"\bcharite\b.*\bCharite\b"):
        find_declared_hospital(store, "charite")
    with pytest.raises(BcdError, match=r"\bcharite\b.*\bCharite\b"):
        open_pseudonyms(store, Hospital("charite"))
    assert [record.hospital for record in list_hospitals(store)] == ["Charite"]


@pytest.mark.parametrize("name", ["", "-east", "a b", "a/b", "é", "x" * 65])
def test_a_hospital_s_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(BcdError, match=re.escape(repr(name))):
        check_hospital(name)


def test_other_kinds_of_identifiers_are_refused(store: Store) -> None:
    with pytest.raises(BcdError, match="'none'"):
        declare_hospital(store, "east", "none", SignOff("Mary", "test"))  # type: ignore[arg-type]
    assert list_hospitals(store) == []


def test_a_hospital_s_slides_may_be_as_coarse_as_it_is_allowed(store: Store) -> None:
    assert declare_hospital(store, "east", "raw", SignOff("Mary", "test")).coarsest == 1.2
    assert (
        store_coarse_limit(store, "east", 2.5, CAMERA).coarsest
        == find_declared_hospital(store, "east").coarsest
        == 2.5
    )
    for limit in (0.5, 5.1, float("nan")):
        with pytest.raises(BcdError, match=f"{limit:g}"):
            store_coarse_limit(store, "east", limit, CAMERA)
    with pytest.raises(NotFoundError, match="`bcd hospital declare west"):
        store_coarse_limit(store, "west", 2.5, CAMERA)
    with store.read() as connection:
        [row] = connection.execute(sa.select(tables.coarse_limits)).mappings()
    assert (row["hospital"], row["coarsest"], SignOff.of(row)) == ("east", 2.5, CAMERA)
