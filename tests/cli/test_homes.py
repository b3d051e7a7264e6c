"""A home that is not there is an error to every command that reads one or goes on with one, and none is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

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
    ("batch", "show", "a"),
    ("patient", "list"),
    ("patient", "show", "1"),
    ("patient", "complete", "1", *SIGNED),
    ("patient", "export", "1", "--format", "dicom", "--to", "exported"),
    ("batch", "refusals", "a"),
    ("batch", "release", "a", "b.png", *SIGNED),
    ("patient", "withdraw", "1", *SIGNED),
    ("patient", "erase"),
    ("patient", "erase", "--dry-run"),
    ("hospital", "list"),
    ("hospital", "allow", "east", "--coarsest", "2", *SIGNED),
    ("label", "import", "labels.csv", *SIGNED),
    ("label", "doubts"),
    ("review", "next", "--to", "queue"),
    ("review", "suspicious", "--to", "queue"),
    ("review", "import", "patches.csv", *SIGNED),
    ("lineage", "1"),
    ("store", "push"),
    ("backup", "--to", "backups"),
    ("upgrade",),
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
BEGIN_ONE = {"demo", "up", "worker", "ingest", "hospital declare", "model adopt", "restore"}
NEED_NONE = {"config show", "doctor", "network list", "network show", "network preview"}
SOMETIMES_NEED_NONE = {"evaluate", "score", "model card", "model export", "ingest"}
ROOT = Path(__file__).parents[2]


def _list_commands(command: Any, *names: str) -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield " ".join(names)
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _list_commands(child, *names, name)


EVERY = set(_list_commands(typer.main.get_command(app)))


def _begins(command: str, words: str) -> bool:
    return f"{words} ".startswith(f"{command} ")


def test_of_every_command_it_is_said_whether_it_needs_a_home() -> None:
    needing = {one for one in EVERY if any(_begins(one, " ".join(words)) for words in COMMANDS)}
    assert needing | BEGIN_ONE | NEED_NONE == EVERY
    assert needing & (BEGIN_ONE | NEED_NONE) <= SOMETIMES_NEED_NONE


def test_the_page_of_commands_names_those_that_need_no_home() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text()
    [sentence] = re.findall(
        r"^A home that is not there is an error to every command but (.+?\))\.", page, re.M | re.S
    )
    named = {words.strip() for words in re.findall(r"`([a-z ]+)", sentence)}  # a group stands for its commands
    said = {one for one in EVERY for words in named if _begins(one, words) or _begins(words, one)}
    assert said == BEGIN_ONE | NEED_NONE | SOMETIMES_NEED_NONE


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


@pytest.mark.parametrize(
    "command", [("config", "show"), ("network", "list"), ("network", "show", "compact")], ids=" ".join
)
def test_what_needs_no_home_makes_none(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BCD_HOME", "")
    app(["--home", str(tmp_path / "none"), *command], standalone_mode=False)
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
