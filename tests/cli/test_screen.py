"""What a command shows: a table to a person, the same records to a program, and nothing else."""

from __future__ import annotations

import ast
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

CLI = Path(__file__).parents[2] / "bcd/cli"
SHOWS = {"table", "print_table", "facts"}
PLAYS_OTHERS = {"demo"}
"""What shows the tables of the commands that it plays, one after the other."""


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


def read_calls() -> dict[str, set[str]]:
    """Returns what each function of the command line calls, by their names."""
    calls: dict[str, set[str]] = {}
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                called = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
                names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}
                calls.setdefault(node.name, set()).update(names)
    return calls


def find_showing() -> set[str]:
    """Returns the functions that show records, themselves or by what they call."""
    calls, showing = read_calls(), set(SHOWS)
    while more := {name for name, called in calls.items() if called & showing} - showing:
        showing |= more
    return showing


def test_every_command_that_shows_records_prints_them_as_json_and_no_other() -> None:
    functions = find_showing()
    showing = {name for name, command in commands() if command.callback.__name__ in functions} - PLAYS_OTHERS
    assert showing >= {"batch release", "evaluate", "ingest", "model prune", "patient erase", "review next", "status"}
    assert {name for name, command in commands() if any("--json" in one.opts for one in command.params)} == showing


def test_a_decision_is_signed_in_the_same_way_at_every_command() -> None:
    signed = {}
    for name, command in commands():
        found = {one.name: one for one in command.params if {"--by", "--reason", "--author"} & set(one.opts)}
        if found:
            assert set(found) == {"by", "reason"}, name
            assert all(found[one].required for one in found) == (name != "model compare"), name
            signed[name] = tuple((one.help, one.metavar) for one in found.values())
    assert set(signed) >= {"hospital declare", "label import", "patient withdraw", "model approve", "batch release"}
    assert len(set(signed.values())) == 1


def test_every_group_shows_examples() -> None:
    groups = {name: each for name, each in typer.main.get_command(app).commands.items() if hasattr(each, "commands")}  # type: ignore[attr-defined]
    assert {name for name, group in groups.items() if f"bcd {name} " not in (group.epilog or "")} == set()
