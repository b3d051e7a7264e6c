from __future__ import annotations

import pytest

from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.catalog import Catalog
from bcd.store.hospitals import allow_coarse, check_hospital, declare_hospital, find_declared, list_hospitals
from bcd.store.pseudonyms import open_pseudonyms


def test_a_hospital_is_declared_once_and_again_changes_nothing(settings: Settings, catalog: Catalog) -> None:
    first = declare_hospital(settings, catalog, "east", "raw", "Mary")
    assert declare_hospital(settings, catalog, "east", "raw", "John") == first
    assert find_declared(catalog, "east") == first
    assert (first.identifiers, first.author, first.key_fingerprint) == ("raw", "Mary", None)


def test_what_was_declared_is_never_changed(settings: Settings, catalog: Catalog) -> None:
    declare_hospital(settings, catalog, "east", "raw", "Mary")
    with pytest.raises(BcdError, match="declared with identifiers `raw` \\(by Mary"):
        declare_hospital(settings, catalog, "east", "pseudonyms", "John")
    assert find_declared(catalog, "east").identifiers == "raw"


def test_an_undeclared_hospital_is_answered_with_the_command_and_near_names(
    settings: Settings, catalog: Catalog
) -> None:
    declare_hospital(settings, catalog, "northern", "raw", "Mary")
    with pytest.raises(BcdError, match=r"bcd hospital declare nothern --identifiers pseudonyms.*northern"):
        find_declared(catalog, "nothern")


def test_hospitals_are_listed_by_name(settings: Settings, catalog: Catalog) -> None:
    for name in ("west", "East", "north"):
        declare_hospital(settings, catalog, name, "pseudonyms", "Mary")
    assert [record.hospital for record in list_hospitals(catalog)] == ["East", "north", "west"]


def test_names_that_differ_by_case_only_are_one_hospital_and_its_declared_spelling_is_asked_for(
    settings: Settings, catalog: Catalog
) -> None:
    declare_hospital(settings, catalog, "Charite", "raw", "Mary")
    with pytest.raises(BcdError, match=r"CHARITE is declared as Charite.* Write Charite"):
        declare_hospital(settings, catalog, "CHARITE", "raw", "Mary")
    with pytest.raises(BcdError, match=r"charite is declared as Charite"):
        find_declared(catalog, "charite")
    with pytest.raises(BcdError, match=r"charite is declared as Charite"):
        open_pseudonyms(settings, catalog, Hospital("charite"))
    assert [record.hospital for record in list_hospitals(catalog)] == ["Charite"]


@pytest.mark.parametrize("name", ["", "-east", "a b", "a/b", "é", "x" * 65])
def test_a_hospital_s_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(BcdError, match="not a name for a hospital"):
        check_hospital(name)


def test_other_kinds_of_identifiers_are_refused(settings: Settings, catalog: Catalog) -> None:
    with pytest.raises(BcdError, match="'none' is not a kind"):
        declare_hospital(settings, catalog, "east", "none", "Mary")  # type: ignore[arg-type]
    assert list_hospitals(catalog) == []


def test_a_hospital_s_slides_may_be_as_coarse_as_it_is_allowed(settings: Settings, catalog: Catalog) -> None:
    assert declare_hospital(settings, catalog, "east", "raw", "Mary").coarsest == 1.2
    assert allow_coarse(catalog, "east", 2.5).coarsest == find_declared(catalog, "east").coarsest == 2.5
    for limit in (0.5, 5.1, float("nan")):
        with pytest.raises(BcdError, match="is no limit for slides"):
            allow_coarse(catalog, "east", limit)
    with pytest.raises(BcdError, match="bcd hospital declare west"):
        allow_coarse(catalog, "west", 2.5)
