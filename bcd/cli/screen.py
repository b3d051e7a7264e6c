"""What commands show: tables and sentences to a person, or the same facts as JSON to a program."""

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
    """A terminal that shows records as tables; with `as_json` it prints nothing but the records, when it is closed.

    Examples:
        >>> screen = Screen(as_json=True)
        >>> screen.table("Batches", [{"batch": "1a2b", "patches": 1234}], {"batch": lambda each: str(each["batch"])})
        >>> screen.close()
        [
          {
            "batch": "1a2b",
            "patches": 1234
          }
        ]
    """

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__(quiet=as_json, width=None if sys.stdout.isatty() else 150, highlight=False)
        self._as_json = as_json
        self._facts: Any = None

    def table(
        self,
        title: str,
        records: Sequence[Record],
        columns: Mapping[str, Callable[[Record], str]],
        *,
        key: str = "",
        limit: int | None = None,
    ) -> None:
        """Shows records, one a row; without records, the terminal shows nothing.

        Args:
            title: Printed above.
            records: Dataclasses, models or mappings; JSON has all that is in them.
            columns: How the terminal shows a record, by the column's name.
            key: What the list is called in JSON, where a command shows more than it; empty: the list is all.
            limit: The terminal shows so many at most.
        """
        self.facts({key: records} if key else records)
        if records:
            rows = [[show(record) for show in columns.values()] for record in records[:limit]]
            print_table(self, title, list(columns), rows)

    def facts(self, facts: Any) -> None:
        """Adds what JSON has and no table shows; several mappings become one."""
        if self._as_json:  # a person may be shown lists and mappings, as by `bcd demo`
            self._facts = {**self._facts, **facts} if isinstance(self._facts, dict) else facts

    def close(self) -> None:
        """Prints the facts as JSON, if JSON is wanted."""
        if self._as_json:
            print(json.dumps(self._facts, indent=2, ensure_ascii=False, default=_write_json_value))  # noqa: T201


def _write_json_value(value: Any) -> Any:
    """Writes what JSON does not know."""
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json())  # which writes what is no number as null
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
