"""A zip as a delivery: read as Python's own zipfile reads it, whichever program wrote it."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcd.admission.sources.open import open_source
from bcd.admission.sources.source import UnreadableFileError
from bcd.admission.sources.zips import ZipSource
from bcd.errors import BcdError

FILES = {"8867/0/a.png": os.urandom(6000), "8867/1/b.png": b"x" * 50_000, "empty": b"", "é/ü.png": b"text"}


def _write(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_they_were_written(tmp_path: Path, read_all, method: int) -> None:
    assert read_all(_write(tmp_path / "x.zip", FILES, method)) == FILES


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abcé/", min_size=1, max_size=8).filter(lambda n: n[-1] != "/"), st.binary(max_size=3000)))
def test_any_zip_reads_as_zipfile_reads_it(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    path = _write(tmp_path_factory.mktemp("zip") / "x.zip", files)
    with ZipSource(path) if files else _nothing() as source, zipfile.ZipFile(path) as archive:
        assert [source.read(member, 1 << 20) for member in range(len(source.names))] == [
            archive.read(info) for info in archive.infolist()
        ]
