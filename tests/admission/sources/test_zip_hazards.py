"""What is wrong with a member of a zip is that member's own matter; a damaged list is the whole delivery's."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from delivering import refused, write_packed_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from bcd.admission.sources import source as source_module
from bcd.admission.sources import zip_listing
from bcd.admission.sources.source import OverlongFileError, UnreadableFileError
from bcd.admission.sources.zips import ZipSource
from bcd.errors import BcdError

NOISE = bytes(range(256)) * 20


def _patch_listed(path: Path, name: str, field: int, form: str, value: int) -> None:
    """Overwrites a field of a member's header in the list."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2")
    while data[place + 46 : place + 46 + len(name)] != name.encode():
        place = data.index(b"PK\1\2", place + 4)
    struct.pack_into(form, data, place + field, value)
    path.write_bytes(data)


FLAGS, METHOD, CRC, PACKED, SIZE, MODE, OFFSET = 8, 10, 16, 20, 24, 40, 42


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A zip whose first member stays good."""
    return write_packed_zip(tmp_path / "x.zip", {"good": NOISE, "bad": NOISE})


@pytest.mark.parametrize(
    ("field", "form", "value", "rule"),
    [
        (FLAGS, "<H", 1, "encrypted"),
        (METHOD, "<H", 12, "compression"),
        (METHOD, "<H", 9, "compression"),
        (METHOD, "<H", 77, "compression"),
        (METHOD, "<H", 0, "unreadable"),
        (CRC, "<I", 1, "unreadable"),
        (SIZE, "<I", 5119, "bomb"),
        (SIZE, "<I", 5121, "unreadable"),
        (PACKED, "<I", 10, "unreadable"),
        (OFFSET, "<I", 1, "unreadable"),
    ],
)
def test_a_bad_member_is_told_and_the_others_are_read(  # noqa: PLR0917
    two: Path, read_all, field: int, form: str, value: int, rule: str
) -> None:
    _patch_listed(two, "bad", field, form, value)
    assert read_all(two) == {"good": NOISE, "bad": rule}


def test_damaged_data_are_told(two: Path, read_all) -> None:
    data = bytearray(two.read_bytes())
    start = data.index(b"bad") + 3
    data[start : start + 8] = b"\xff" * 8
    two.write_bytes(data)
    found = read_all(two)
    assert found["good"] == NOISE
    assert found["bad"] == "unreadable"


def test_members_that_share_bytes_are_a_bomb(tmp_path: Path, hazards_of) -> None:
    path = write_packed_zip(tmp_path / "x.zip", {"a": NOISE, "b": NOISE, "c": NOISE})
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("b").header_offset
    _patch_listed(path, "c", OFFSET, "<I", place)
    assert hazards_of(path) == {"b": "bomb", "c": "bomb"}


def test_a_member_that_is_listed_outside_the_archive_is_told(two: Path, hazards_of, read_all) -> None:
    _patch_listed(two, "bad", OFFSET, "<I", 1 << 30)
    assert hazards_of(two) == {"bad": "unreadable"}
    assert read_all(two) == {"good": NOISE, "bad": "unreadable"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_no_files(two: Path, hazards_of, kind: int) -> None:
    _patch_listed(two, "bad", MODE, "<H", kind | 0o644)
    assert hazards_of(two) == {"bad": "not-a-file"}


def test_paths_that_lead_elsewhere_and_archives_inside_are_told(tmp_path: Path, hazards_of) -> None:
    unsafe = ["/etc/x.png", "../x.png", "a/../../x.png", "C:\\x.png"]
    path = write_packed_zip(tmp_path / "x.zip", dict.fromkeys([*unsafe, "more.zip", "good.png"], NOISE))
    assert hazards_of(path) == dict.fromkeys([*unsafe[:3], "C:/x.png"], "unsafe-path") | {
        "more.zip": "nested-archive"
    }


def test_a_member_that_unpacks_absurdly_is_a_bomb_and_never_unpacked_beyond_the_limit(
    tmp_path: Path, hazards_of
) -> None:
    path = write_packed_zip(tmp_path / "x.zip", {"bomb.png": bytes(40 << 20)})
    assert hazards_of(path) == {"bomb.png": "bomb"}
    _assert_small(path, limit=1000, expected=bytes(1000))
    _patch_listed(path, "bomb.png", SIZE, "<I", 2000)  # it lies about its size
    assert hazards_of(path) == {}
    _assert_small(path, limit=1 << 20, expected=None)


def _assert_small(path: Path, *, limit: int, expected: bytes | None) -> None:
    with closing(ZipSource(path)) as source:
        tracemalloc.start()
        try:
            if expected is None:
                with pytest.raises(OverlongFileError):
                    source.read(0, limit)
                with pytest.raises(OverlongFileError):
                    source.copy(0, path.with_name("copy"))
                assert not path.with_name("copy").exists()
            else:
                assert source.read(0, limit) == expected
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()


def test_a_picture_that_packs_well_is_no_bomb(tmp_path: Path, hazards_of) -> None:
    assert hazards_of(write_packed_zip(tmp_path / "x.zip", {"white.png": bytes(9 << 20)})) == {}


def test_two_members_of_one_name_are_two_members(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    with closing(ZipSource(tmp_path / "x.zip")) as source:
        assert [(name, source.read(member, 9)) for member, name in enumerate(source.names)] == [
            ("a", b"1"),
            ("a", b"2"),
        ]


def test_a_damaged_list_refuses_the_whole_zip(two: Path) -> None:
    data = bytearray(two.read_bytes())
    data[data.index(b"PK\1\2") + 28] += 1  # a name is longer than it is
    two.write_bytes(data)
    with refused("unreadable"):
        ZipSource(two)


def test_a_zip_without_its_end_refuses_the_whole_zip(two: Path) -> None:
    two.write_bytes(two.read_bytes()[:-30])
    with refused("unreadable"):
        ZipSource(two)


def test_two_zips_in_one_file_are_not_taken_for_the_second(two: Path) -> None:
    two.write_bytes(two.read_bytes() * 2)
    with refused("unreadable"):
        ZipSource(two)


def test_a_zip_of_absurdly_many_members_is_refused(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source_module.MAX_MEMBERS == 5_000_000
    monkeypatch.setattr(zip_listing, "MAX_MEMBERS", 1)
    with refused("too-many"):
        ZipSource(two)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_makes_it_crash_or_read_what_was_not_written(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_packed_zip(tmp_path_factory.mktemp("zip") / "x.zip", {"a": NOISE[:500], "b": b"", "c/d": NOISE[:90]})
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) - 1, 300]))])
    try:
        source = ZipSource(path)
    except BcdError:
        return
    with closing(source):
        for member in range(len(source.names)):
            source.hazard(member)
            try:
                found = source.read(member, 1 << 20)
            except UnreadableFileError:
                continue
            assert zlib.crc32(found) == source._entries[member]["crc"]
            assert len(found) == source.size(member)
