"""A tar as a delivery, plain or compressed: whichever dialect, whole or refused as a whole."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from delivering import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from bcd.admission.rules import DeliveryError
from bcd.admission.sources import tars
from bcd.admission.sources.open import is_whole_archive, list_delivered_names, open_source
from bcd.admission.sources.source import UnreadableFileError
from bcd.errors import BcdError, UnavailableError

FILES = {"8867/0/a.png": os.urandom(6000), "8867/1/b.png": b"x" * 50_000, "empty": b"", "é/ü.png": b"text"}
LONG = {"/".join(["folder" * 10] * 5) + "/x.png": b"a path of 300 characters"}


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    info.linkname = "/etc/passwd" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    archive.addfile(info, io.BytesIO(data))


def _write(path: Path, files: dict[str, bytes], mode: str = "w", dialect: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=dialect) as archive:  # type: ignore[call-overload]
        _add(archive, "8867", kind=tarfile.DIRTYPE)
        for name, data in files.items():
            _add(archive, name, data)
    return path


@pytest.fixture(params=["w", "w:gz"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_as_they_were_written(tmp_path: Path, read_all, mode: str, dialect: int) -> None:
    files = FILES if dialect == tarfile.USTAR_FORMAT else FILES | LONG
    assert read_all(_write(tmp_path / "x", files, mode, dialect)) == files


def test_a_tar_goes_by_its_bytes_and_not_by_its_name(tmp_path: Path, read_all, mode: str) -> None:
    assert read_all(_write(tmp_path / "delivery.zip", FILES, mode)) == FILES


def test_names_are_listed_without_unpacking(tmp_path: Path, mode: str) -> None:
    assert list(list_delivered_names(_write(tmp_path / "x", FILES, mode))) == list(FILES)


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    with open_source(_write(tmp_path / "x.tar", FILES), tmp_path) as source:
        assert source.size(1) == 50_000
        assert source.read(1, 7) == b"x" * 7


def test_a_large_member_is_copied_to_disk_in_bounded_memory(tmp_path: Path, mode: str) -> None:
    data = os.urandom(1 << 20) * 12
    with open_source(_write(tmp_path / "x", {"slide.svs": data}, mode), tmp_path) as source:
        tracemalloc.start()
        source.copy(0, tmp_path / "copy.svs")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (tmp_path / "copy.svs").read_bytes() == data
    assert peak < 2 << 20


def test_links_devices_and_unsafe_paths_are_told(tmp_path: Path, hazards_of, read_all) -> None:
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"Z"]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number, kind in enumerate(kinds):
            _add(archive, f"{number}.png", kind=kind)
        for name in ("/etc/x.png", "../x.png", "more.tgz", "good.png"):
            _add(archive, name, b"x")
    odd = {f"{number}.png": "not-a-file" for number in range(len(kinds))}
    unsafe = {"/etc/x.png": "unsafe-path", "../x.png": "unsafe-path", "more.tgz": "nested-archive"}
    assert hazards_of(tmp_path / "x.tar") == odd | unsafe
    assert read_all(tmp_path / "x.tar")["0.png"] == "unreadable"


def test_a_sparse_member_cannot_be_read(tmp_path: Path, hazards_of, read_all) -> None:
    header = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"%011o\0" % (1 << 40)  # a terabyte of holes
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]  # type: ignore[attr-defined]
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(1024))
    assert hazards_of(tmp_path / "x.tar") == {}
    assert read_all(tmp_path / "x.tar") == {"sparse": "unreadable"}


@pytest.mark.parametrize("lost", [1, 100, 10_240, 30_000])
def test_a_cut_tar_is_refused_as_a_whole(tmp_path: Path, mode: str, lost: int) -> None:
    path = _write(tmp_path / "x", {"a": os.urandom(20_000), "b": os.urandom(20_000)}, mode)
    if mode == "w":  # of the zeros that pad it to 10 KiB, it needs one block after the folder and the files
        os.truncate(path, 512 + 2 * (512 + 20_480) + 512)
    assert is_whole_archive(path)
    os.truncate(path, path.stat().st_size - lost)
    assert not is_whole_archive(path)
    with refused("unreadable"), open_source(path, tmp_path):
        pass


def test_a_tar_that_ends_between_two_members_is_not_whole(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", {"a": b"x" * 512, "b": b"x" * 512})
    path.write_bytes(path.read_bytes()[: 512 + 1024])  # the folder and a
    with refused("unreadable"), open_source(path, tmp_path):
        pass


def test_what_follows_the_end_is_not_lost_in_silence(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", {"a": b"x"})
    path.write_bytes(path.read_bytes() * 2)
    with refused("unreadable"), open_source(path, tmp_path):
        pass


def test_damaged_compressed_data_are_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tgz", FILES, "w:gz")
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF  # of the check sum: another byte may happen to make it no archive at all
    path.write_bytes(data)
    with refused("unreadable"), open_source(path, tmp_path):
        pass


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "x.tgz", {"a": bytes(20 << 20)}, "w:gz")
    monkeypatch.setattr(tars, "HARMLESS_TAR", 10 << 20)
    for look in (lambda: list(list_delivered_names(path)), lambda: open_source(path, tmp_path).__enter__()):
        with refused("bomb"):
            look()


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "x.tgz", FILES, "w:gz")
    monkeypatch.setattr(tars.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000})())  # type: ignore[attr-defined]
    with (
        pytest.raises(UnavailableError, match=re.escape(f"{tmp_path}: {os.strerror(errno.ENOSPC)}")),
        open_source(path, tmp_path),
    ):
        pass


def test_nothing_is_left_of_what_was_unpacked(tmp_path: Path) -> None:
    path, scratch = _write(tmp_path / "x.tgz", FILES, "w:gz"), tmp_path / "scratch"
    with open_source(path, scratch) as source:
        assert list(scratch.iterdir()) == []  # it has no name: a killed process leaves nothing either
        assert source.read(1, 10) == b"x" * 10
    assert list(scratch.iterdir()) == []


def test_an_absurdly_long_header_is_not_read_into_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        _add(archive, "././@LongLink", bytes(50 << 20), tarfile.GNUTYPE_LONGNAME)
        _add(archive, "a", b"x")
    tracemalloc.start()
    with pytest.raises(DeliveryError, match="52,428,80"), open_source(tmp_path / "x.tgz", tmp_path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_277524_members_take_little_memory(tmp_path: Path) -> None:
    names = [f"{n // 1000}/{n % 2}/{n // 1000}_idx5_x{n % 1000}1_y{n}_class{n % 2}.png" for n in range(3000)]
    path = _write(tmp_path / "x.tar", dict.fromkeys(names, b""), dialect=tarfile.USTAR_FORMAT)
    tracemalloc.start()
    with open_source(path, tmp_path):
        kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept / 3000 * 277_524 < 60e6


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "empty"),
        (b"x", "no-delivery"),
        (b"\x1f\x8b\x08", "container"),
        (gzip.compress(b"no tar", mtime=0), "container"),
        (bytes(10_240), "no-delivery"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "container"),
        (b"PK\3\4", "unreadable"),
    ],
)
def test_what_is_no_delivery_is_refused_by_its_rule(tmp_path: Path, data: bytes, rule: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with refused(rule), open_source(tmp_path / "x", tmp_path):
        pass


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_makes_it_crash(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tar")
    with tarfile.open(folder / "x.tar", "w") as archive:
        for name in ("a" * 120, "b", "é"):  # with extended headers
            _add(archive, name, name.encode())
    whole = bytearray((folder / "x.tar").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 5000))] = data.draw(
            st.sampled_from([0, 0x30, 0x37, 0x4C, 0x53, 0x78, 0x80, 0xFF])
        )
    (folder / "x.tar").write_bytes(_with_checksums(whole) if data.draw(st.booleans()) else whole)
    try:
        with open_source(folder / "x.tar", folder) as source:
            for member in range(len(source.names)):
                source.hazard(member)
                with suppress(UnreadableFileError):
                    assert len(source.read(member, 100)) == min(100, source.size(member))
    except BcdError:
        pass


def _with_checksums(data: bytearray) -> bytes:
    """Makes damaged headers pass their checksum, so that what they say is looked at."""
    for place in range(0, len(data) - 511, 512):
        if data[place + 257 : place + 262] == b"ustar":
            block = bytes(data[place : place + 512])
            data[place + 148 : place + 156] = b"%06o\0 " % tarfile.calc_chksums(block)[0]  # type: ignore[attr-defined]
    return bytes(data)
