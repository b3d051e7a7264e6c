"""The inbox: a delivery is taken when it is whole; one that cannot be admitted at all leaves it, and is not lost."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bcd.admission import delivery as delivery_module
from bcd.admission.delivery import PATIENCE, find_deliveries
from bcd.admission.received import locate_in_inbox, name_in_inbox, set_delivery_aside
from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital
from bcd.progress import SilentSink, show_progress
from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

QUIET = 10.0


@pytest.fixture
def hasty(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"inbox_quiet_seconds": 0.0})


@pytest.fixture
def found_after(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    """Names what is found in the inbox so many seconds from now."""

    def find(seconds: float) -> list[str]:
        now = time.time()
        with monkeypatch.context() as patch:
            patch.setattr(delivery_module.time, "time", lambda: now + seconds)  # type: ignore[attr-defined]
            return [path.name for _, path in find_deliveries(settings)]

    assert settings.inbox_quiet_seconds == QUIET
    return find


def test_deliveries_wait_by_hospital_in_the_order_of_their_names(
    hasty: Settings, as_zip, as_folder, patch_files
) -> None:
    as_zip(patch_files("1"), hasty.inbox / "west" / "b.zip")
    as_folder(patch_files("1"), hasty.inbox / "west" / "a")
    as_zip(patch_files("1"), hasty.inbox / "east" / "c.zip")
    as_zip(patch_files("1"), hasty.inbox / "not a hospital" / "d.zip")
    found = [(hospital, path.name) for hospital, path in find_deliveries(hasty)]
    assert found == [("east", "c.zip"), ("west", "a"), ("west", "b.zip")]


def test_an_inbox_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert find_deliveries(load_settings(tmp_path / "nowhere")) == []


def test_a_delivery_is_taken_once_nothing_in_it_changed_for_a_while(
    settings: Settings, as_folder, as_zip, patch_files, found_after
) -> None:
    folder = as_folder(patch_files("1"), settings.inbox / "east" / "a")
    as_zip(patch_files("1"), settings.inbox / "east" / "b.zip")
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))  # as a copying tool does that keeps the times of the original
    assert found_after(QUIET - 5) == []
    assert found_after(QUIET + 5) == ["a", "b.zip"]


@pytest.mark.parametrize(
    "name", [".x.zip", "x.zip.part", "x.zip.filepart", "x.zip.crdownload", "x.tmp", ".x.zip.k3Jd8s", ".DS_Store"]
)
def test_a_name_of_a_transfer_under_way_is_never_taken(
    settings: Settings, as_zip, patch_files, found_after, name: str
) -> None:
    as_zip(patch_files("1"), settings.inbox / "east" / name)
    assert found_after(1000 * QUIET) == []


@pytest.mark.parametrize("name", ["x.png.part", ".x.png.k3Jd8s", ".~lock.labels.csv#", "x.partial", "x.crdownload"])
def test_a_folder_with_a_transfer_under_way_in_it_waits_longer(
    settings: Settings, as_folder, patch_files, found_after, name: str
) -> None:
    as_folder({**patch_files("1"), f"1/{name}": b"x"}, settings.inbox / "east" / "a")
    assert found_after(QUIET + 5) == []
    assert found_after(PATIENCE * QUIET + 5) == ["a"]


def _tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "first bytes"])
def test_an_archive_without_its_end_waits_longer_and_is_then_taken_to_be_set_aside(
    settings: Settings, as_zip, patch_files, found_after, kind: str
) -> None:
    files = patch_files("1")
    whole = {
        "zip": as_zip(files).read_bytes(),
        "tar": _tar(files),
        "tar.gz": gzip.compress(_tar(files)),
        "first bytes": b"PK\3",
    }[kind]
    path = settings.inbox / "east" / "x"
    path.parent.mkdir(parents=True)
    path.write_bytes(whole[: max(len(whole) * 2 // 3, 3)])
    said = _Said()
    with show_progress(said):
        assert found_after(QUIET + 5) == []
    assert ["east" in message for message in said.messages] == [True]
    assert found_after(PATIENCE * QUIET + 5) == ["x"]
    path.write_bytes(whole)
    assert found_after(QUIET + 5) == ([] if kind == "first bytes" else ["x"])


class _Said(SilentSink):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


def test_a_hospital_that_cannot_be_is_told(hasty: Settings, as_zip, patch_files) -> None:
    as_zip(patch_files("1"), hasty.inbox / "not a hospital" / "d.zip")
    said = _Said()
    with show_progress(said):
        assert find_deliveries(hasty) == []
    assert "'not a hospital'" in said.messages[0]


def test_what_cannot_be_admitted_is_moved_with_the_reason_beside_it(settings: Settings) -> None:
    for content in ("monday", "tuesday"):  # the same name twice: neither is lost
        folder = settings.inbox / "east"
        folder.mkdir(parents=True, exist_ok=True)
        delivery = folder / "photos.zip"
        delivery.write_text(content)
        where = set_delivery_aside(settings, delivery, Hospital("east"), reason=f"{content}: no patch in it.")
        assert not delivery.exists()
        assert where.read_text() == content
        assert where.with_name(f"{where.name}.txt").read_text() == f"{content}: no patch in it.\n"
    assert len(list((settings.set_aside / "east").iterdir())) == 4


@pytest.fixture
def monday(settings: Settings, as_zip, patch_files) -> Path:
    path = settings.inbox / "east" / "monday.zip"
    as_zip(patch_files("1"), path)
    return path


@pytest.mark.parametrize("hospital", ["", "east"])
def test_a_delivery_of_the_inbox_is_named_by_hospital_and_name_or_by_its_path(
    store: Store, monday: Path, hospital: str
) -> None:
    for named in ("east/monday.zip", str(monday), "west/../east/monday.zip"):
        assert locate_in_inbox(store, named, hospital) == ("east", monday)


@pytest.mark.usefixtures("monday")
def test_what_lies_elsewhere_is_not_in_the_inbox(store: Store, tmp_path: Path, as_zip, patch_files) -> None:
    settings = store.settings
    as_zip(patch_files("1"), tmp_path / "outside.zip")
    as_zip(patch_files("1"), settings.home / "received" / "east" / "old.zip")
    outside = [
        str(tmp_path / "outside.zip"),
        "../../outside.zip",
        "../received/east/old.zip",
        "east/../../../outside.zip",
    ]
    for named in [*outside, "east", ".", "..", "/", "east/tuesday.zip", "s3://bucket/monday.zip"]:
        with pytest.raises(NotFoundError, match=re.escape(str(settings.inbox))):
            locate_in_inbox(store, named)


@pytest.mark.usefixtures("monday")
def test_a_delivery_of_another_hospital_is_not_taken_for_this_ones(store: Store) -> None:
    with pytest.raises(BcdError, match=r"\beast\b.*\bwest\b"):
        locate_in_inbox(store, "east/monday.zip", "west")


def test_where_names_may_tell_somebody_a_delivery_is_found_by_what_stands_for_its_name(
    store: Store, as_zip, patch_files
) -> None:
    declare_hospital(store, "north", "raw", SignOff("test", "test"))
    path = as_zip(patch_files("1"), store.settings.inbox / "north" / "for MILLER.zip")
    named = name_in_inbox(store, Hospital("north"), path)
    assert re.fullmatch(r"north/hidden-[0-9a-f]{12}\.zip", named)
    assert locate_in_inbox(store, named, "north") == ("north", path)
    assert locate_in_inbox(store, "north/for MILLER.zip") == ("north", path)
    with pytest.raises(NotFoundError):
        locate_in_inbox(store, "north/hidden-000000000000.zip")
