"""`bcd backup` and `bcd restore`, as a person types them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from stored import store_patients

from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.patients import list_patients
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.store.withdrawals import record_withdrawal

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bcd(bcd_in_a_line: Run, settings: Settings) -> Run:
    return bcd_in_a_line


@pytest.fixture
def home(settings: Settings) -> Settings:
    """A home of a hospital with raw identifiers and one with pseudonyms."""
    store = open_store(settings)
    declare_hospital(store, "west", "raw", SignOff("Dr Lee", "test"))
    open_pseudonyms(store, Hospital("west"))
    declare_hospital(store, "east", "pseudonyms", SignOff("Dr Lee", "test"))
    store_patients(store, ["1001", "1002"])
    return settings


def test_a_backup_says_what_is_new_where_the_key_is_and_what_comes_next(
    bcd: Run, home: Settings, tmp_path: Path
) -> None:
    code, told, complained = bcd("backup", "--to", tmp_path / "to")
    assert code == 0, complained
    assert "3 files" in told
    assert f"{home.keys}/pseudonyms.key" in told  # is not in it
    assert f"bcd restore {tmp_path}/to --home NEW" in told

    code, told, complained = bcd("backup", "--to", tmp_path / "to", "--keys", tmp_path / "apart")
    assert code == 0, complained
    assert "0 files and 0.0 MB" in told
    assert (tmp_path / "apart" / "pseudonyms.key").exists()


def test_a_restored_home_says_what_is_left_to_do(bcd: Run, home: Settings, tmp_path: Path) -> None:
    bcd("backup", "--to", tmp_path / "to")
    [first] = [path.stem for path in (tmp_path / "to" / "backups").iterdir()]
    record_withdrawal(open_store(home), "1001", hospital="east", sign_off=SignOff("Dr Lee", "a letter"))
    bcd("backup", "--to", tmp_path / "to")

    code, told, complained = bcd("restore", tmp_path / "to", "--home", tmp_path / "new", "--backup", first)

    assert code == 0, complained
    assert all(name in told for name in (f"{tmp_path}/new", first, str(home.home), f"{tmp_path}/new.keys"))
    assert re.search(r"\b1\.", told)  # withdrawal
    patients = list_patients(open_store(Settings(home=tmp_path / "new"))).set_index("patient")["withdrawn"]
    assert patients.to_dict() == {"1001": True, "1002": False}


def test_a_home_in_use_and_a_home_that_is_not_there_are_refused(bcd: Run, home: Settings, tmp_path: Path) -> None:
    bcd("backup", "--to", tmp_path / "to")
    code, _, complained = bcd("restore", tmp_path / "to")
    assert (code, str(home.home) in complained) == (2, True)
    code, _, complained = bcd("--home", tmp_path / "none", "backup", "--to", tmp_path / "to")
    assert (code, f"{tmp_path}/none" in complained) == (2, True)
