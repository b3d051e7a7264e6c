"""A folder as a delivery: every file of it, no link followed, nothing that vanishes in silence."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from delivering import refused

from bcd.admission.sources import folders
from bcd.admission.sources.folders import FolderSource, walk
from bcd.admission.sources.open import open_source
from bcd.admission.sources.source import UnreadableFileError


def test_every_file_is_read_in_the_order_of_names(as_folder, read_all) -> None:
    files = {"b/2.png": b"two", "a/1.png": b"one", "a.png": b"", "b/c/.DS_Store": b"x"}
    found = read_all(as_folder(files))
    assert found == files
    assert list(found) == sorted(files)


def test_files_come_in_the_order_of_their_whole_paths(as_folder) -> None:
    files = dict.fromkeys(("a/1.png", "a-b/1.png", "a.png", "a0/1.png", "a/b/1.png", "a/b-1.png", "Z.png"), b"x")
    folder = as_folder(files)
    (folder / "a" / "empty").mkdir()
    assert list(FolderSource(folder).names) == sorted(files)


def test_links_pipes_and_their_targets_are_not_read(as_folder, read_all, hazards_of, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.png").write_bytes(b"secret")
    folder = as_folder({"a/1.png": b"one"})
    (folder / "a" / "link.png").symlink_to(tmp_path / "secret" / "x.png")
    (folder / "elsewhere").symlink_to(tmp_path / "secret")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    odd = {"a/link.png": "not-a-file", "elsewhere": "not-a-file", "round": "not-a-file", "pipe.png": "not-a-file"}
    assert hazards_of(folder) == odd
    assert read_all(folder) == {"a/1.png": b"one"} | dict.fromkeys(odd, "unreadable")


def test_a_file_that_becomes_a_pipe_or_a_link_after_it_was_listed_is_not_read(as_folder, tmp_path: Path) -> None:
    folder = as_folder({"1.png": b"one", "2.png": b"two"})
    source = FolderSource(folder)
    for name in ("1.png", "2.png"):
        (folder / name).unlink()
    (tmp_path / "secret").write_bytes(b"two")
    os.mkfifo(folder / "1.png")
    (folder / "2.png").symlink_to(tmp_path / "secret")
    for member in (0, 1):
        with pytest.raises(UnreadableFileError):
            source.read(member, 100)


def test_a_file_that_changes_or_goes_after_it_was_listed_is_not_read(as_folder) -> None:
    folder = as_folder({"goes": b"1234", "grows": b"1234", "shrinks": b"1234", "stays": b"1234"})
    source = FolderSource(folder)
    (folder / "goes").unlink()
    (folder / "grows").write_bytes(b"12345")
    (folder / "shrinks").write_bytes(b"123")
    for member in range(3):
        with pytest.raises(UnreadableFileError):
            source.read(member, 100)
    assert source.read(3, 100) == b"1234"


def test_no_more_is_read_than_asked_for(as_folder) -> None:
    source = FolderSource(as_folder({"large": bytes(range(200))}))
    assert source.size(0) == 200
    assert source.read(0, 7) == bytes(range(7))


def test_a_folder_that_cannot_be_listed_is_told(as_folder, hazards_of, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = as_folder({"a/1.png": b"one", "locked/2.png": b"two"})
    scandir = os.scandir

    def refuse(place: Path) -> object:
        if place.name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(folders.os, "scandir", refuse)  # type: ignore[attr-defined]
    assert hazards_of(folder) == {"locked": "unreadable"}
    assert list(FolderSource(folder).names) == ["a/1.png", "locked"]
    with refused("unreadable"):
        list(walk(folder / "locked"))


def test_names_that_are_no_text_are_read_all_the_same(tmp_path: Path, read_all) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"8867\\0\\x.png", b"line\nend.png"):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(name)
    assert read_all(folder) == {
        r"caf\udce9.png": b"caf\xe9.png",
        "8867/0/x.png": b"8867\\0\\x.png",
        r"line\nend.png": b"line\nend.png",
    }


def test_a_whole_file_is_copied_to_disk(as_folder, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    source = FolderSource(as_folder({"slide.svs": data}))
    source.copy(0, tmp_path / "copy.svs")
    assert (tmp_path / "copy.svs").read_bytes() == data


def test_a_copy_that_fails_leaves_nothing(as_folder, tmp_path: Path) -> None:
    folder = as_folder({"slide.svs": b"1234"})
    source = FolderSource(folder)
    (folder / "slide.svs").write_bytes(b"12345")
    with pytest.raises(UnreadableFileError, match="5 bytes, not 4"):
        source.copy(0, tmp_path / "copy.svs")
    assert not (tmp_path / "copy.svs").exists()


@pytest.mark.parametrize("name", ["8867.svs", "8867_idx5.TIF", "8867_idx5.png"])
def test_a_single_slide_is_a_delivery_of_one_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"pixels")
    (tmp_path / "neighbour.svs").write_bytes(b"another delivery")
    with open_source(tmp_path / name, tmp_path) as source:
        assert list(source.names) == [name]
        assert (source.size(0), source.read(0, 100), source.hazard(0)) == (6, b"pixels", None)


def test_reading_by_several_threads_gives_the_same(as_folder) -> None:
    source = FolderSource(as_folder({f"{number:03d}": bytes([number]) * 5000 for number in range(60)}))
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(member for member in range(60) if source.read(member, 1 << 20) != bytes([member]) * 5000)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
