"""What the demo decides before it starts: which deliveries, which protocol, whose BCD_HOME."""

from __future__ import annotations

import os
import re
from pathlib import Path

import made_patches
import pytest
from delivering import patch_files, write_folder
from public_archive import write_archive

from bcd.cli.demo import Memory, find_demo_data, suggest_demo_next, write_demo_protocol
from bcd.errors import BcdError, NotFoundError
from bcd.search.options import SearchOptions
from bcd.settings import Settings, load_settings


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public archive as it is downloaded, of a patch a patient."""
    path = tmp_path_factory.mktemp("public") / "archive.zip"
    write_archive(path, made_patches.noise_base(), 279)
    return path


def test_a_folder_without_a_delivery_is_refused_and_so_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=re.escape(str(tmp_path))):
        find_demo_data(tmp_path)
    with pytest.raises(NotFoundError, match=r"archive\.zip"):
        find_demo_data(tmp_path / "archive.zip")


def test_the_public_archive_is_one_delivery_packed_or_unpacked_and_its_protocol_is_known(
    archive: Path, tmp_path: Path
) -> None:
    made_patches.unpack(archive, tmp_path / "unpacked")
    for path in (archive, tmp_path / "unpacked"):
        assert find_demo_data(path) == [path]
        assert suggest_demo_next([path]) == "cruz-roa-2014"


def test_folders_of_patients_in_a_folder_are_as_many_deliveries(tmp_path: Path) -> None:
    for name in ("may", "june"):
        write_folder(tmp_path / name, patch_files("8867", range(2)))
    assert find_demo_data(tmp_path) == [tmp_path / "june", tmp_path / "may"]


def test_a_bad_delivery_is_named_before_anything_starts(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"no zip")
    with pytest.raises(BcdError, match=r"a\.zip"):
        find_demo_data(tmp_path)


def test_a_home_belongs_to_one_demo(settings: Settings) -> None:
    memory = Memory.open(settings, data="/data", protocol="dealt")
    assert memory.first_snapshot == ""
    memory.keep_snapshot(settings, "4cb2")
    assert Memory.open(settings, data="/data", protocol="dealt").first_snapshot == "4cb2"
    with pytest.raises(BcdError, match=r"/data\b.*\bdealt\b"):
        Memory.open(settings, data="/data", protocol="cruz-roa-2014")


@pytest.mark.real_data
def test_the_public_set_is_recognised(deliveries: Path) -> None:
    found = find_demo_data(deliveries)
    assert [path.name for path in found] == [f"idc-batch-{number}.zip" for number in range(1, 6)]
    assert suggest_demo_next(found) == "cruz-roa-2014-dev"


def test_schedules_retrain_under_the_protocol_of_the_demo(settings: Settings) -> None:
    write_demo_protocol(settings, "cruz-roa-2014-dev")
    assert load_settings().splits == {"protocol": "cruz-roa-2014-dev"}
    assert load_settings().options("search", SearchOptions).workers == min(2, len(os.sched_getaffinity(0)))
    write_demo_protocol(settings, "dealt")  # never over what is written there
    assert load_settings().splits == {"protocol": "cruz-roa-2014-dev"}


def test_other_patients_are_dealt() -> None:
    assert suggest_demo_next([]) == "dealt"
