"""A home that is not there is an error to every command that reads one or goes on with one, and none is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bcd.cli.main import app
from bcd.errors import BcdError, NotFoundError

SIGNED = ("--by", "Mary", "--reason", "a letter")

COMMANDS = [
    ("status",),
    ("model", "list"),
    ("model", "history"),
    ("model", "history", "77"),
    ("snapshot", "list"),
    ("snapshot", "show", "a"),
    ("snapshot", "diff", "a", "b"),
    ("batch", "list"),
    ("patient", "list"),
    ("batch", "refusals", "a"),
    ("batch", "release", "a", "b.png", *SIGNED),
    ("patient", "withdraw", "1", *SIGNED),
    ("patient", "erase"),
    ("patient", "erase", "--dry-run"),
    ("hospital", "list"),
    ("labels", "import", "labels.csv", *SIGNED),
    ("labels", "doubts"),
    ("model", "compare", "1", "2"),
    ("model", "approve", "1", *SIGNED),
    ("model", "promote", "1", *SIGNED),
    ("model", "rollback", *SIGNED),
    ("model", "prune", "--keep", "1"),
    ("model", "card"),
    ("model", "export"),
    ("ingest",),
    ("monitor",),
    ("search",),
    ("train",),
    ("retrain",),
    ("score",),
    ("score", "1"),
    ("evaluate",),
    ("evaluate", "--model", "1"),
    ("down",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_mistyped_home_is_an_error_and_is_not_made(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCD_HOME", "")  # --home sets it for good
    with pytest.raises(NotFoundError, match="TYPO"):
        app(["--home", str(tmp_path / "TYPO"), *command], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_home_is_not_made_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCD_HOME", "")
    (tmp_path / "notes.txt").write_text("somebody's own folder")
    with pytest.raises(NotFoundError, match=re.escape(str(tmp_path))):
        app(["--home", str(tmp_path), "status"], standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_question_mark_ends_the_address_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCD_HOME", "")
    with pytest.raises(BcdError, match=r"what\?"):
        app(["--home", str(tmp_path / "what?"), "status"], standalone_mode=False)
