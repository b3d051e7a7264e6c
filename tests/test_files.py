"""Files are whole or absent, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcd.files import rotate_log, whole_file, whole_folder


class _KilledError(Exception):
    pass


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/report.html"
    with whole_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.suffix == ".html"
    assert path.read_text() == "half"


def test_a_broken_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as partial:
            partial.write_text("new")
            raise _KilledError

    with pytest.raises(_KilledError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "batch"

    def write(*, killed: bool) -> None:
        with whole_folder(folder) as partial:
            (partial / "inner").mkdir()
            (partial / "inner/index").write_text("rows")
            if killed:
                raise _KilledError

    with pytest.raises(_KilledError):
        write(killed=True)
    assert list(tmp_path.iterdir()) == []
    write(killed=False)
    assert (folder / "inner/index").read_text() == "rows"


def test_a_folder_that_another_process_made_meanwhile_stays(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    with whole_folder(folder) as partial:
        (partial / "index").write_text("ours")
        folder.mkdir()
        (folder / "index").write_text("theirs")
    assert (folder / "index").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bcd.files import whole_file, whole_folder\n"
        "folder = Path(sys.argv[1])\n"
        "with whole_folder(folder / 'batch') as a, whole_file(folder / 'index') as b:\n"
        "    (a / 'pixels').write_text('half'); b.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, check=False)
    assert len(list(tmp_path.glob(".partial-*"))) == 2
    with whole_file(tmp_path / "outer") as outer:
        with whole_file(tmp_path / "inner") as inner:
            inner.write_text("inner")
            assert sorted(tmp_path.glob(".partial-*")) == sorted([inner, outer])
        outer.write_text("outer")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner", "outer"]


def test_a_folder_that_appears_while_ours_is_named_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "batch"
    with whole_folder(theirs) as partial:
        (partial / "a").write_text("ours")
        theirs.mkdir()
        (theirs / "a").write_text("theirs")
        monkeypatch.setattr(Path, "exists", lambda path: False)  # it was looked for a moment too early
    assert (theirs / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_a_log_that_grew_is_moved_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("a") as writer:
        for text in ("first", "second", "third", "fourth"):
            writer.write(text * 10)
            writer.flush()
            rotate_log(log, limit=10, keep=2)
            rotate_log(log, limit=10, keep=2)  # an empty one stays
        writer.write("on")
    read = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert read == {"server.log": "on", "server.log.1": "fourth" * 10, "server.log.2": "third" * 10}
