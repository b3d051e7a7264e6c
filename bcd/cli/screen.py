"""What commands show: tables and sentences to a person, or the tables as JSON to a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel
from rich.console import Console

from bcd.cli.terminal import print_table

Record = TypeVar("Record")


class Screen(Console):
    """A terminal that shows records as a table, or as JSON.

    With `as_json`, the records go to the standard output as they are, and sentences to the standard error, so that a
    program reads nothing else.

    Examples:
        >>> screen = Screen(as_json=True)
        >>> screen.table("Batches", [{"batch": "1a2b", "patches": 1234}], {"batch": lambda each: each["batch"]})
        >>> screen.finish()
        [
          {
            "batch": "1a2b",
            "patches": 1234
          }
        ]
    """

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__(stderr=as_json, width=None if sys.stdout.isatty() else 150)
        self.as_json = as_json
        self._answer: Any = None

    def say(self, text: str, style: str = "") -> None:
        """Prints a line as it is: nothing in it is markup, and it is not folded."""
        self.print(text, style=style or None, highlight=False, markup=False, soft_wrap=True)

    def table(
        self,
        title: str,
        records: Sequence[Record],
        columns: Mapping[str, Callable[[Record], str]],
        *,
        key: str = "",
        limit: int | None = None,
    ) -> None:
        """Shows records, one a row; no records: nothing, or an empty list as JSON.

        Args:
            title: Printed above.
            records: Dataclasses, models or mappings; JSON has all that is in them.
            columns: How the terminal shows a record, by the column's name.
            key: The name of the list, where a command has several tables; empty: the list is all that it answers.
            limit: The terminal shows so many at most.
        """
        if self.as_json:
            facts = [_plain(record) for record in records]
            self.answer({key: facts} if key else facts)
        elif records:
            rows = [[show(record) for show in columns.values()] for record in records[:limit]]
            print_table(self, title, list(columns), rows)

    def text_table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Prints a table of text, for whose figures the command gives an `answer` beside it."""
        if not self.as_json:
            print_table(self, title, header, rows)

    def answer(self, facts: Any) -> None:
        """Sets what the command answers as JSON; several mappings become one."""
        facts = _plain(facts)
        self._answer = self._answer | facts if isinstance(self._answer, dict) else facts

    def finish(self) -> None:
        """Prints what was answered as JSON, if JSON is wanted."""
        if self.as_json:
            print(json.dumps(self._answer, indent=2, ensure_ascii=False, default=_write))  # noqa: T201


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _write(value: Any) -> Any:
    """Writes what JSON does not know."""
    if isinstance(value, datetime):
        return value.isoformat()
    return _plain(value) if isinstance(value, BaseModel) else str(value)
