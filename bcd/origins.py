"""What somebody set, where, and what is wrong with it: bcd.toml by line, secrets by file, `BCD_*` variables by name.

Examples:
    >>> given = [Given(("training", "epochs"), 3, "bcd.toml, line 2"), Given(("training", "epochs"), "5", "BCD_X")]
    >>> merge_settings(given)
    {'training': {'epochs': '5'}}
    >>> find_setting_origin(given, ("training", "epochs")).where
    'BCD_X'
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from bcd.errors import BcdError
from bcd.options import describe_option_limits

FILE: Final = "bcd.toml"
PREFIX: Final = "BCD_"

_OF_THE_TESTS = "BCD_TEST_"

_SECRETS = "/run/secrets"  # where Docker lays them, and Kubernetes by habit; systemd names its folder in a variable
_SECRETS_VARIABLE = "CREDENTIALS_DIRECTORY"

_KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"


@dataclass(frozen=True)
class Given:
    """A value that somebody set.

    Attributes:
        path: Its table, if it has one, and its key.
        value: As TOML gives it; of a variable, its text.
        where: Where it was set; empty: by the command or the form that is under way.
    """

    path: tuple[str, ...]
    value: Any
    where: str


def read_given_settings(home: Path) -> list[Given]:
    """Reads bcd.toml in `home`, then the files of secrets, which win over it, then the `BCD_*` variables, which win.

    Raises:
        BcdError: bcd.toml is not TOML, or a secret cannot be read.
    """
    secrets = Path(os.environ.get(_SECRETS_VARIABLE) or _SECRETS)
    return [*_read_file(home / FILE), *_read_secrets(secrets), *_read_variables(os.environ)]


def merge_settings(given: Sequence[Given]) -> dict[str, Any]:
    """Returns the values as nested tables; of two at one path the later wins."""
    merged: dict[str, Any] = {}
    for each in given:
        table = merged
        for name in each.path[:-1]:
            inner = table.get(name)
            if not isinstance(inner, dict):
                inner = table[name] = {}
            table = inner
        table[each.path[-1]] = each.value
    return merged


def find_setting_origin(given: Sequence[Given], path: tuple[str, ...]) -> Given | None:
    """Returns what was set at `path`, or in the table there, or around it; None where it is as by default."""
    for each in reversed(given):
        shared = min(len(path), len(each.path))
        if path[:shared] == each.path[:shared]:
            return each
    return None


def find_faults(
    model: type[BaseModel], table: tuple[str, ...], given: Sequence[Given], others: Mapping[str, str] | None = None
) -> list[str]:
    """Tells in a sentence each what is wrong with the values of one table.

    Args:
        model: What validates the table.
        table: Its path; empty: the settings above all tables.
        given: Everything that was set.
        others: The tables that have an option of that name, to say so where it was set elsewhere.
    """
    faults: dict[tuple[str, ...], str] = {}
    # Text is a number where it comes from a variable. In the file it is not, and `true` is no 1.
    from_file = [each for each in given if each.where.startswith(FILE)]
    for part, strict in ((from_file, True), (given, False)):
        values = _find_table(merge_settings(part), table)
        for loc, fault in _validate_model(model, values, strict=strict):
            if loc or not strict:  # what concerns several options needs all of them
                where = _name_origins(given, table, loc)
                faults.setdefault(loc, where + _describe_fault(model, table, loc, fault, others or {}))
    return list(faults.values())


def hide_password(value: object) -> object:
    """Returns the value, without the password where it is an address with one."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]+@", r"\1***@", value) if isinstance(value, str) else value


def _read_file(path: Path) -> list[Given]:
    try:
        text = path.read_text("utf-8-sig")  # editors of Windows mark the beginning
        tables = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):  # a home that is a file is told by whoever opens it
        return []
    except ValueError as error:  # not TOML, or not text
        raise BcdError(f"{path} cannot be read: {error}.", "Correct it there.") from error
    lines = _find_lines(text)
    return [
        Given(value_path, value, f"{FILE}, line {_line_of(lines, value_path)}")
        for value_path, value in _flatten_table(tables, ())
    ]


def _flatten_table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flatten_table(value, (*path, key))
        else:
            yield (*path, key), value


def _find_lines(text: str) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(rf"\s*\[+\s*({_PATH})\s*\]", line):
            table = _split_path(header[1])
            lines.setdefault(table, number)
        elif key := re.match(rf"\s*({_PATH})\s*=", line):
            lines.setdefault((*table, *_split_path(key[1])), number)
    return lines


def _split_path(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, path))


def _line_of(lines: Mapping[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """Returns the line of a key; of one within an inline table, the line of that."""
    return next(lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines)


def _read_secrets(folder: Path) -> list[Given]:
    """Reads the files of a folder that are called as a variable is, in small letters or capitals."""
    try:
        files = [file for file in sorted(folder.iterdir()) if file.name.upper().startswith(PREFIX) and file.is_file()]
        texts = {file: file.read_text("utf-8").strip() for file in files}
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:  # not to be read, or not text
        raise BcdError(
            f"The secrets in {folder} cannot be read: {error}.",
            "Let the user that runs bcd read them, each one line of text.",
        ) from error
    return [_given(file.name.upper(), text, str(file)) for file, text in texts.items() if text]


def _read_variables(environment: Mapping[str, str]) -> list[Given]:
    names = sorted(name for name in environment if name.startswith(PREFIX) and not name.startswith(_OF_THE_TESTS))
    return [_given(name, environment[name], name) for name in names if environment[name]]


def _given(name: str, text: str, where: str) -> Given:
    return Given(tuple(name.removeprefix(PREFIX).lower().split("__")), _read_text(text), where)


def _read_text(text: str) -> Any:
    """Reads lists, tables and null as JSON; the options model reads numbers, since "12" may be somebody's name."""
    if text.strip()[:1] not in {"[", "{"} and text.strip() != "null":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _find_table(merged: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        merged = merged.get(name, {}) if isinstance(merged, dict) else {}
    return merged if isinstance(merged, dict) else {}


def _validate_model(model: type[BaseModel], values: Any, *, strict: bool) -> list[tuple[tuple[str, ...], Any]]:
    try:
        if strict:  # as JSON, in which a path is text
            model.model_validate_json(json.dumps(values, default=str), strict=True)
        else:
            model.model_validate(values, strict=False)
    except ValidationError as error:
        return [(tuple(part for part in each["loc"] if isinstance(part, str)), each) for each in error.errors()]
    except BcdError as error:
        return [((), {"type": "value_error", "msg": str(error)})]
    return []


def _name_origins(given: Sequence[Given], table: tuple[str, ...], loc: tuple[str, ...]) -> str:
    if loc:
        origin = find_setting_origin(given, (*table, *loc))
        found = [origin.where] if origin else []
    else:
        found = [each.where for each in given if each.path[: len(table)] == table]
    named = ", ".join(where for where in found if where)
    return f"{named}: " if named else ""


def _describe_fault(
    model: type[BaseModel], table: tuple[str, ...], loc: tuple[str, ...], fault: Any, others: Mapping[str, str]
) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not loc:
        return f"[{'.'.join(table)}]: {message.removesuffix('.')}."
    key, name = loc[0], ".".join(table)
    if key not in model.model_fields:
        what = f"[{name}] has no option {key}" if name else f"there is no setting {key}"
        if near := get_close_matches(key, model.model_fields, n=1):
            return f"{what}; the nearest is {near[0]}."
        return f"{what}; it is one of {others[key]}." if key in others else f"{what}; see docs/reference/settings.md."
    value = json.dumps(hide_password(fault["input"]), default=str)
    accepted = f"{describe_option_limits(model.model_fields[key])} is accepted"
    return (
        f"{f'[{name}] ' if name else ''}{key} = {value}: {message if fault['type'] == 'value_error' else accepted}."
    )
