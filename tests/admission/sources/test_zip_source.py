"""A zip as a delivery: read as Python's own zipfile reads it, whichever program wrote it."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from delivering import write_packed_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from bcd.admission.sources.open import open_source
from bcd.admission.sources.source import UnreadableFileError
from bcd.admission.sources.zips import ZipSource

FILES = {"8867/0/a.png": os.urandom(6000), "8867/1/b.png": b"x" * 50_000, "empty": b"", "é/ü.png": b"text"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_they_were_written(tmp_path: Path, read_all, method: int) -> None:
    assert read_all(write_packed_zip(tmp_path / "x.zip", FILES, method)) == FILES


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.text("abcé/", min_size=1, max_size=8).filter(lambda name: name[-1] != "/"),
        st.binary(max_size=3000),
        min_size=1,
    )
)
def test_any_zip_is_read_as_zipfile_reads_it(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_packed_zip(tmp_path_factory.mktemp("zip") / "x.zip", files)
    with closing(ZipSource(path)) as source:
        assert [source.read(member, 1 << 20) for member in range(len(source.names))] == list(files.values())


def test_members_come_in_the_order_of_their_places_whatever_the_list_says(tmp_path: Path, read_all) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in "abc":
            archive.writestr(name, name)
        archive.filelist.reverse()
    assert list(read_all(tmp_path / "x.zip").items()) == [("a", b"a"), ("b", b"b"), ("c", b"c")]


def test_an_archive_may_be_streamed_with_sizes_after_the_data(tmp_path: Path, read_all) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, file: io.BufferedWriter) -> None:
            self._file = file

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return self._file.write(data)

    with (tmp_path / "x.zip").open("wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    assert read_all(tmp_path / "x.zip") == FILES


def test_an_archive_may_have_sizes_of_64_bits(tmp_path: Path, read_all, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)  # as if everything beyond 100 bytes were beyond 4 GiB
    path = write_packed_zip(tmp_path / "x.zip", FILES)
    assert b"PK\6\6" in path.read_bytes()
    assert read_all(path) == FILES


def test_an_archive_may_have_a_comment_a_program_before_it_and_bytes_after_it(tmp_path: Path, read_all) -> None:
    path = write_packed_zip(tmp_path / "x.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\5\6 from the archive's own comment"
    path.write_bytes(b"#!/bin/sh\nexec unzip $0\n" + path.read_bytes() + b"\0" * 100)
    assert read_all(path) == FILES


def test_apples_archiver_counts_members_in_16_bits(tmp_path: Path) -> None:
    names = [f"{number:05d}".encode() for number in range(65_540)]
    data = b"".join(struct.pack("<4s22xHH", b"PK\3\4", 5, 0) + name for name in names)
    listed = b"".join(
        struct.pack("<4s24xHHH8xI", b"PK\1\2", 5, 0, 0, 35 * number) + name for number, name in enumerate(names)
    )
    end = struct.pack("<4s4xHHIIH", b"PK\5\6", 4, 4, len(listed), len(data), 0)
    (tmp_path / "x.zip").write_bytes(data + listed + end)
    with closing(ZipSource(tmp_path / "x.zip")) as source:
        assert len(source.names) == 65_540


def test_folders_are_no_members(tmp_path: Path, read_all) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.mkdir("8867")
        archive.writestr("8867/a.png", b"a")
        archive.writestr(zipfile.ZipInfo("8867\\1\\"), b"")
    assert read_all(tmp_path / "x.zip") == {"8867/a.png": b"a"}


@pytest.mark.parametrize(("raw", "name"), [("é.png".encode(), "é.png"), ("é.png".encode("cp437"), "é.png")])
def test_names_are_utf_8_or_code_page_437(tmp_path: Path, read_all, raw: bytes, name: str) -> None:
    path = write_packed_zip(tmp_path / "x.zip", {"N" * len(raw): b"x"})
    path.write_bytes(path.read_bytes().replace(b"N" * len(raw), raw))
    assert read_all(path) == {name: b"x"}


def test_backslashes_of_windows_part_folders(tmp_path: Path, read_all) -> None:
    path = write_packed_zip(tmp_path / "x.zip", {"8867!0!a.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"!", b"\\"))
    assert read_all(path) == {"8867/0/a.png": b"x"}


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    with closing(ZipSource(write_packed_zip(tmp_path / "x.zip", FILES))) as source:
        member = source.names.index("8867/1/b.png")
        assert source.size(member) == 50_000
        assert source.read(member, 7) == b"x" * 7
        assert source.read(member, 50_000) == b"x" * 50_000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_member_is_copied_to_disk_in_bounded_memory(tmp_path: Path, method: int) -> None:
    data = os.urandom(1 << 20) * 12
    path = write_packed_zip(tmp_path / "x.zip", {"slide.svs": data}, method)
    with closing(ZipSource(path)) as source:
        tracemalloc.start()
        source.copy(0, tmp_path / "copy.svs")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (tmp_path / "copy.svs").read_bytes() == data
    assert peak < 2 << 20


def test_several_threads_may_read(tmp_path: Path) -> None:
    files = {f"{number:03d}": os.urandom(4000) for number in range(300)}
    with closing(ZipSource(write_packed_zip(tmp_path / "x.zip", files))) as source, ThreadPoolExecutor(4) as pool:
        members = [*range(300)] * 3
        read = pool.map(lambda member: (source.names[member], source.read(member, 1 << 20)), members)
        assert all(files[name] == data for name, data in read)


def test_the_public_set_s_277524_names_take_little_memory(tmp_path: Path) -> None:
    names = [f"{n // 1000}/{n % 2}/{n // 1000}_idx5_x{n % 1000}1_y{n}_class{n % 2}.png" for n in range(20_000)]
    path = write_packed_zip(tmp_path / "x.zip", dict.fromkeys(names, b""), zipfile.ZIP_STORED)
    tracemalloc.start()
    with open_source(path, tmp_path) as source:
        kept, peak = tracemalloc.get_traced_memory()
        assert len(source.names) == 20_000
    tracemalloc.stop()
    assert kept / 20_000 * 277_524 < 40e6
    assert peak / 20_000 * 277_524 < 75e6


def test_an_archive_that_shrinks_while_it_is_open_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = write_packed_zip(tmp_path / "x.zip", {f"{number}": os.urandom(400_000) for number in range(4)})
    with closing(ZipSource(path)) as source:
        os.truncate(path, 500_000)
        assert len(source.read(0, 1 << 20)) == 400_000
        with pytest.raises(UnreadableFileError, match=r"\bends\b"):
            source.read(3, 1 << 20)


def test_an_empty_zip_has_no_members(tmp_path: Path, read_all) -> None:
    assert read_all(write_packed_zip(tmp_path / "x.zip", {})) == {}


def test_a_zip_goes_by_its_bytes_and_not_by_its_name(tmp_path: Path, read_all) -> None:
    assert read_all(write_packed_zip(tmp_path / "delivery.tar", FILES)) == FILES
