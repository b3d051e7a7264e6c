"""The public archive as it is downloaded: each patient's folder twice, at the top and under IDC_regular_ps50_idx5."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import made_patches
import pytest
from public_archive import AGAIN, PATIENTS, write_archive

from bcd.admission.admit import Admission, admit
from bcd.patches import Hospital
from bcd.settings import load_settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

PATCHES = 2 * PATIENTS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = open_store(load_settings(tmp_path_factory.mktemp("public") / "home"))
    declare_hospital(store, "public-idc", "pseudonyms", SignOff("test", "test"))
    return store


@pytest.fixture(scope="module")
def admission(home: Store, tmp_path_factory: pytest.TempPathFactory) -> Admission:
    """Of an archive of two patches a patient."""
    archive = tmp_path_factory.mktemp("downloaded") / "archive.zip"
    write_archive(archive, made_patches.noise_base(), PATCHES)
    return admit(home, archive, Hospital("public-idc"))


def test_every_patch_is_admitted_once_and_its_second_name_is_told_a_copy(home: Store, admission: Admission) -> None:
    assert (admission.files, admission.admitted, admission.patients) == (2 * PATCHES, PATCHES, PATIENTS)
    assert admission.refused == {"duplicate-cell": PATCHES}
    refused = list_stored_refusals(home, admission.id)
    assert {one.name.split("/")[0] for one in refused} == {AGAIN}
    assert all(one.message == f"A copy of {one.name.removeprefix(f'{AGAIN}/')}." for one in refused)


def test_no_copy_is_kept_a_second_time(home: Store, admission: Admission) -> None:
    kept = [path.name for path in Path(home.settings.quarantine, admission.id).iterdir()]
    assert kept == ["refusals.csv"]


def test_its_patients_have_the_published_splits(home: Store, admission: Admission) -> None:
    patches = freeze_snapshot(home, SplitOptions(protocol="cruz-roa-2014")).patches
    splits = patches.drop_duplicates("patient")["split"]
    assert Counter(splits) == {"train": 84, "val": 29, "test": 49, "gate": PATIENTS - 84 - 29 - 49}
