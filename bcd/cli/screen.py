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

Record = TypeVar("Record")

_GAP = 3
"""Columns of the terminal between two of a table."""

_SHORT = 16
"""A column whose cells are no longer than this is not broken at all."""


class Screen(Console):
    """A terminal that shows records as tables; with `as_json` it prints nothing but the records, when it is closed.

    It is as wide as the terminal, or 150 characters where there is none.

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


def _is_figure(cell: str) -> bool:
    return cell == "" or cell.startswith("n/a") or cell[0] in ".0123456789+\N{MINUS SIGN}"


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text under a header; columns of figures, but the first, are aligned to the right.

    Where the terminal is too narrow for the longest word of every column, each row becomes a paragraph of its own:
    a table would break words in the middle.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    console.print(f"\n[bold]{escape(title)}[/]")  # as a title of the table, it would be folded to its width
    longest = [_longest_word([name, *(row[at] for row in rows)], at) for at, name in enumerate(header)]
    if sum(longest) + _GAP * (len(header) - 1) > console.width:
        _print_paragraphs(console, header, rows)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        figures = position > 0 and all(_is_figure(row[position]) for row in rows)
        table.add_column(
            escape(name), justify="right" if figures else "left", overflow="fold", min_width=longest[position]
        )
    for row in rows:
        table.add_row(*map(Text, row))  # as text: `[n/a]` is no markup
    console.print(table)


def _longest_word(cells: Sequence[str], position: int) -> int:
    from rich.cells import cell_len

    # A name in the first column, a date or a figure is read as one.
    whole = position == 0 or all(len(cell) <= _SHORT for cell in cells)
    return max(cell_len(word) for cell in cells for word in ([cell] if whole else cell.split() or [""]))


def _print_paragraphs(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a row as its first cell, and under it what the others say: `name value`, as many in a line as fit."""
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        console.print(Text(f"{header[0]} {row[0]}".strip(), style="bold"))
        line = Text()
        for name, cell in zip(header[1:], row[1:], strict=True):
            if not cell:
                continue
            part = Text.assemble((f"{name} ", "dim"), cell)
            if line and line.cell_len + _GAP + part.cell_len > console.width - _GAP:
                console.print(Padding(line, (0, 0, 0, _GAP), expand=False))
                line = Text()
            line = Text.assemble(line, "   ", part) if line else part
        console.print(Padding(line, (0, 0, 0, _GAP), expand=False))
