"""A delivery behind a URL: whole or absent, and every failure says what to do.

`s3://` is tested with a real server in tests/integration.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from bcd.admission.sources import remote
from bcd.admission.sources.remote import fetch_delivery, is_delivery_url
from bcd.errors import BcdError, UnavailableError
from bcd.progress import show_progress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/x.zip", True),
        ("https://host/x.zip", True),
        ("file:///x.zip", True),
        ("/data/x.zip", False),
        ("x.zip", False),
        ("C:/x.zip", False),
        ("a/s3://x", False),
    ],
)
def test_a_url_is_told_from_a_path(text: str, expected: bool) -> None:
    assert is_delivery_url(text) is expected


def test_a_file_keeps_its_name_and_is_removed_afterwards(tmp_path: Path, as_zip, read_all) -> None:
    path, scratch = as_zip({"a/1.png": b"one"}, tmp_path / "there" / "may delivery.zip"), tmp_path / "scratch"
    with fetch_delivery(f"file://{path}", scratch) as fetched:
        assert fetched.name == "may delivery.zip"
        assert fetched.is_relative_to(scratch)
        assert read_all(fetched) == {"a/1.png": b"one"}
    assert list(scratch.iterdir()) == []
    assert path.exists()


def test_all_that_is_below_a_prefix_is_fetched(tmp_path: Path, as_folder, read_all, monkeypatch) -> None:
    monkeypatch.setattr(remote, "_AT_ONCE", 2)
    files = {f"{number}/{number}.png": bytes([number]) for number in range(5)} | {"labels.csv": b"x"}
    folder = as_folder(files, tmp_path / "there" / "may")
    with fetch_delivery(folder.as_uri() + "/", tmp_path / "scratch") as fetched:
        assert fetched.name == "may"
        assert read_all(fetched) == files


def test_large_files_come_in_pieces_and_the_bytes_are_counted(tmp_path, monkeypatch, as_folder, read_all) -> None:
    monkeypatch.setattr(remote, "_LARGE", 1000)
    monkeypatch.setattr(remote, "_PIECE", 300)
    files = {"large.svs": bytes(2000), "small.png": bytes(500)}
    sink = _Counter()
    with show_progress(sink), fetch_delivery(as_folder(files).as_uri(), tmp_path / "scratch") as fetched:
        assert read_all(fetched) == files
    assert (sink.total, sink.done) == (2500, 2500)


class _Counter:
    total, done = 0.0, 0.0

    def track(self, description, total):
        self.total = total
        return self

    def __enter__(self):
        return self.advance

    def __exit__(self, *error):
        return None

    def advance(self, amount):
        self.done += amount

    def say(self, message):
        raise AssertionError(message)


def test_what_a_killed_process_fetched_is_swept(tmp_path: Path, as_zip) -> None:
    url, scratch = as_zip({"a": b"x"}).as_uri(), tmp_path / "scratch"
    killed = (
        "import os, sys; from pathlib import Path; from bcd.admission.sources.remote import fetch_delivery\n"
        f"with fetch_delivery({url!r}, Path({str(scratch)!r})): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert len(list(scratch.iterdir())) == 1
    with fetch_delivery(url, scratch):
        assert len(list(scratch.iterdir())) == 1  # its own
    assert list(scratch.iterdir()) == []


@pytest.fixture
def memory() -> fsspec.AbstractFileSystem:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.parametrize("name", ["east/../escaped", "east/a/../../x", "east//x", "east/./x"])
def test_a_key_that_leads_elsewhere_is_refused(memory, tmp_path: Path, monkeypatch, name: str) -> None:
    memory.pipe("/east/a.png", b"x")
    listed = {"/east/a.png": {"type": "file", "size": 1}, f"/{name}": {"type": "file", "size": 1}}
    monkeypatch.setattr(type(memory), "find", lambda self, root, detail: listed)  # a store may have any key
    with pytest.raises(BcdError, match=re.escape(name)), fetch_delivery("memory://east", tmp_path / "scratch"):
        pass
    assert not list(tmp_path.rglob("escaped"))


def test_a_file_and_a_folder_of_one_name_are_named(memory, tmp_path: Path, monkeypatch) -> None:
    listed = {name: {"type": "file", "size": 1} for name in ("/east/a", "/east/a/b")}
    monkeypatch.setattr(type(memory), "find", lambda self, root, detail: listed)
    with pytest.raises(BcdError, match="memory://east"), fetch_delivery("memory://east", tmp_path / "scratch"):
        pass


def test_what_changes_while_it_is_fetched_is_not_taken(memory, tmp_path: Path, monkeypatch) -> None:
    memory.pipe("/east/a.png", b"1234")
    get = type(memory).get

    def get_and_add(self, *args, **kwargs):
        get(self, *args, **kwargs)
        memory.pipe("/east/b.png", b"came later")

    monkeypatch.setattr(type(memory), "get", get_and_add)
    changed = pytest.raises(UnavailableError, match="memory://east")
    with changed, fetch_delivery("memory://east", tmp_path / "scratch"):
        pass
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nowhere/x.zip", "memory://nowhere/x.zip"),
        ("nonsense://x/y.zip", "nonsense://x/y.zip.*Protocol not known"),
        ("http://127.0.0.1:9/x.zip?token=secret", "http://127.0.0.1:9/x.zip"),
        ("ftp://mary:secret@127.0.0.1:9/x.zip", "ftp://127.0.0.1:9/x.zip"),
    ],
)
def test_failures_name_the_url_and_no_secret(memory, tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(BcdError, match=message) as caught, fetch_delivery(url, tmp_path / "scratch"):
        pass
    assert "secret" not in str(caught.value)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    known = importlib.import_module("fsspec.registry")._registry  # of what was used before, in other tests too
    for scheme in ("s3", "s3a"):
        monkeypatch.delitem(known, scheme, raising=False)
    missing = pytest.raises(BcdError, match=r"s3fs.*'bcd\[remote\]'")
    with missing, fetch_delivery("s3://bucket/x.zip", tmp_path / "scratch"):
        pass


def test_errors_of_the_block_are_its_own(tmp_path: Path, as_zip) -> None:
    with pytest.raises(KeyError), fetch_delivery(as_zip({"a": b"x"}).as_uri(), tmp_path / "scratch"):
        raise KeyError
