from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.errors import BcdError, DamagedError, NotFoundError
from bcd.patches import Hospital, PatchName
from bcd.store import pseudonyms as module
from bcd.store.hospitals import declare_hospital, find_declared_hospital
from bcd.store.pseudonyms import Pseudonyms, fingerprint_pseudonym_key, key_path, open_pseudonyms
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST, WEST = Hospital("east"), Hospital("west")
KEY = bytes(range(32))


@given(identifier=st.text(max_size=80))
def test_a_pseudonym_is_a_patient_of_the_patch_s_grammar(identifier: str) -> None:
    patient = Pseudonyms(EAST, KEY).patient(identifier)
    name = PatchName.parse(f"{patient}_idx5_x1_y51.png")
    assert name is not None
    assert name.patient == patient


@given(one=st.text(), other=st.text())
def test_two_identifiers_have_two_pseudonyms_and_one_has_one(one: str, other: str) -> None:
    east = Pseudonyms(EAST, KEY)
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (east.patient(one) == east.patient(other)) is same


@given(identifier=st.text())
def test_hospital_key_and_kind_of_text_each_change_what_stands_for_it(identifier: str) -> None:
    east, west, other = Pseudonyms(EAST, KEY), Pseudonyms(WEST, KEY), Pseudonyms(EAST, KEY[::-1])
    assert len({east.patient(identifier), west.patient(identifier), other.patient(identifier)}) == 3
    assert len({east.hide(identifier), west.hide(identifier), other.hide(identifier)}) == 3


def test_a_pseudonym_never_changes_between_versions_of_bcd() -> None:
    assert Pseudonyms(EAST, KEY).patient("1950 Miller") == "PZJT3VMCJ4HZ3DYQB7ZGB"
    assert Pseudonyms(EAST, KEY).hide("Miller.zip") == "hidden-63de5c3fb04b"


def test_a_name_spelt_by_two_operating_systems_is_one_patient() -> None:
    east = Pseudonyms(EAST, KEY)
    assert east.patient(unicodedata.normalize("NFD", "Müller")) == east.patient(
        unicodedata.normalize("NFC", "Müller")
    )


def test_the_key_never_shows() -> None:
    assert KEY.hex() not in repr(Pseudonyms(EAST, KEY))
    assert repr(KEY) not in repr(Pseudonyms(EAST, KEY))


def test_pseudonyms_are_left_alone_where_identifiers_are_pseudonyms(store: Store) -> None:
    declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
    assert open_pseudonyms(store, EAST) is None
    assert not store.settings.keys.exists()


def test_an_undeclared_hospital_has_none(store: Store) -> None:
    with pytest.raises(NotFoundError):
        open_pseudonyms(store, EAST)


def test_the_first_use_makes_a_key_that_only_its_owner_reads(store: Store) -> None:
    first = _open(store, EAST)
    path = store.settings.keys / "pseudonyms.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.is_relative_to(store.settings.home)
    assert find_declared_hospital(store, EAST).key_fingerprint == fingerprint_pseudonym_key(
        bytes.fromhex(path.read_text())
    )
    assert _open(store, EAST).patient("1") == first.patient("1")
    assert _open(store, WEST).patient("1") != first.patient("1")
    assert find_declared_hospital(store, WEST).key_fingerprint == find_declared_hospital(store, EAST).key_fingerprint


def test_a_missing_key_is_never_made_anew(store: Store) -> None:
    _open(store, EAST)
    known = find_declared_hospital(store, EAST).key_fingerprint
    key_path(store.settings).unlink()
    for hospital in (EAST, WEST):  # another hospital's first use would else make one
        with pytest.raises(DamagedError, match=rf"pseudonyms\.key.*{known}"):
            _open(store, hospital)
    assert not key_path(store.settings).exists()


def test_another_key_is_refused_with_both_fingerprints(store: Store) -> None:
    _open(store, EAST)
    known = find_declared_hospital(store, EAST).key_fingerprint
    key_path(store.settings).write_text(KEY.hex())
    for hospital in (EAST, WEST):
        with pytest.raises(BcdError, match=f"{fingerprint_pseudonym_key(KEY)}.*{known}.*backup"):
            _open(store, hospital)
    assert find_declared_hospital(store, WEST).key_fingerprint is None


@pytest.mark.parametrize("text", ["", "zz", "abcd", "é" * 64])
def test_a_damaged_key_is_refused(store: Store, text: str) -> None:
    _open(store, EAST)
    key_path(store.settings).write_text(text)
    with pytest.raises(DamagedError, match=re.escape(str(key_path(store.settings)))):
        _open(store, EAST)


def test_a_key_inside_the_home_is_refused(store: Store) -> None:
    inside = store.settings.model_copy(update={"keys": store.settings.home / "keys"})
    with pytest.raises(BcdError, match="inside BCD_HOME"):
        _open(replace(store, settings=inside), EAST)
    assert not inside.keys.exists()


def test_a_run_killed_between_key_and_fingerprint_is_completed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_record_fingerprint", die)
        with pytest.raises(KeyboardInterrupt):
            _open(store, EAST)
    key = key_path(store.settings).read_text()
    _open(store, EAST)
    assert key_path(store.settings).read_text() == key
    assert find_declared_hospital(store, EAST).key_fingerprint == fingerprint_pseudonym_key(bytes.fromhex(key))


def test_a_run_killed_while_writing_the_key_leaves_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            _open(store, EAST)
    assert not key_path(store.settings).exists()
    _open(store, EAST)
    assert sorted(path.name for path in store.settings.keys.iterdir()) == [".lock", "pseudonyms.key"]


def test_processes_that_need_the_key_at_once_end_with_one(store: Store) -> None:
    declare_hospital(store, "east", "raw", SignOff("Mary", "test"))
    script = (
        "from bcd.settings import load_settings as s; from bcd.store.store import open_store as c;"
        " from bcd.store.pseudonyms import open_pseudonyms as p; print(p(c(s()), 'east').patient('1'))"
    )
    environment = {**os.environ, "BCD_HOME": str(store.settings.home), "BCD_CATALOG_URL": store.settings.catalog_url}
    runs = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {run.communicate(timeout=120)[0] for run in runs}
    assert said == {f"{_open(store, EAST).patient('1')}\n"}


def _open(store: Store, hospital: Hospital) -> Pseudonyms:
    declare_hospital(store, hospital, "raw", SignOff("Mary", "test"))
    opened = open_pseudonyms(store, hospital)
    assert opened is not None
    return opened
