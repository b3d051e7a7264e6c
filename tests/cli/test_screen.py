"""What a command shows: a table to a person, the same records to a program, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from bcd.cli.main import app
from bcd.cli.screen import Screen
from bcd.store.sign_off import SignOff

SILENT = {
    *("demo", "up", "down", "worker", "backup", "restore", "upgrade", "store push"),
    *("batch release", "hospital allow", "hospital declare", "labels import", "patient erase", "patient withdraw"),
    *("patient complete", "patient export", "review import", "review next", "review suspicious"),
    *("model adopt", "model approve", "model card", "model export", "model promote", "model prune", "model rollback"),
    *("config reference", "network preview"),
}
"""Commands that do or write something and print no table of facts."""


@dataclass(frozen=True)
class Delivered:
    name: str
    patches: int
    sign_off: SignOff
    folder: Path = Path("/reports")


MONDAY = datetime(2026, 11, 2, 8, tzinfo=UTC)
RECORDS = [Delivered(f"d{number}", 1000 * number, SignOff("Dr Lee", "a letter", MONDAY)) for number in (1, 2, 3)]
COLUMNS = {"delivery": lambda each: each.name, "patches": lambda each: f"{each.patches:,}"}


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_a_person_sees_a_list_after_facts_of_another_kind(capsys: pytest.CaptureFixture[str]) -> None:
    # The fault: `bcd demo` ended with a TypeError between the verdict and the scored patient.
    screen = Screen()
    screen.facts({"verdict": "HOLD"})
    screen.table("Deliveries", RECORDS, COLUMNS)
    assert "3,000" in capsys.readouterr().out


def test_a_person_sees_the_first_rows_and_a_program_all_fields_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.table("Deliveries", RECORDS, COLUMNS, limit=2)
    screen.close()
    shown = capsys.readouterr().out
    assert "2,000" in shown
    assert "d3" not in shown

    screen = Screen(as_json=True)
    screen.table("Deliveries", RECORDS, COLUMNS, limit=2)
    screen.print("3 deliveries.")
    screen.close()
    told, complained = capsys.readouterr()
    found = json.loads(told)
    assert [one["patches"] for one in found] == [1000, 2000, 3000]
    assert found[0]["sign_off"] == {"by": "Dr Lee", "reason": "a letter", "at": "2026-11-02T08:00:00+00:00"}
    assert (found[0]["folder"], complained) == ("/reports", "")


def test_several_tables_are_one_object_and_none_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    screen.table("Deliveries", RECORDS, COLUMNS, key="deliveries")
    screen.facts({"home": Path("/home")})
    screen.table("Scores", [], COLUMNS, key="scores")
    screen.close()
    found = json.loads(capsys.readouterr().out)
    assert (len(found["deliveries"]), found["home"], found["scores"]) == (3, "/home", [])


def test_every_command_that_shows_facts_prints_them_as_json() -> None:
    options = {name: {option for one in command.params for option in one.opts} for name, command in commands()}
    assert {name for name, known in options.items() if "--json" not in known} == SILENT


def test_a_decision_is_signed_in_the_same_way_at_every_command() -> None:
    signed = {}
    for name, command in commands():
        found = {one.name: one for one in command.params if {"--by", "--reason", "--author"} & set(one.opts)}
        if found:
            assert set(found) == {"by", "reason"}, name
            assert all(found[one].required for one in found) == (name != "model compare"), name
            signed[name] = tuple((one.help, one.metavar) for one in found.values())
    assert set(signed) >= {"hospital declare", "labels import", "patient withdraw", "model approve", "batch release"}
    assert len(set(signed.values())) == 1


def test_every_group_shows_examples() -> None:
    groups = {name: each for name, each in typer.main.get_command(app).commands.items() if hasattr(each, "commands")}  # type: ignore[attr-defined]
    assert {name for name, group in groups.items() if f"bcd {name} " not in (group.epilog or "")} == set()
