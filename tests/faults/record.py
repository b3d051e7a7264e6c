"""What was played so far, kept so that `make faults` goes on where it was stopped, and the table made of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults import Fault
from simulations import replace_section

from bcd.files import whole_file

ROOT = Path(__file__).parents[2]
RECORD = ROOT / ".bcd/faults.json"
PAGE = ROOT / "docs/explanation/reliability.md"


@dataclass(frozen=True)
class Outcome:
    """What a fault came to.

    Attributes:
        hit: What was under way when it struck.
        after: Seconds since its stage had begun.
        days: Days until everything was done; an undisturbed hospital takes one.
        seconds: What the row took.
        differences: From an undisturbed hospital; none: it ended as if nothing had happened.
    """

    hit: str
    after: float
    days: int
    seconds: float
    differences: list[str]


class Record:
    """The outcomes so far, and what an undisturbed hospital comes to.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path = RECORD) -> None:
        self._file = file
        self._kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    @property
    def undisturbed(self) -> dict[str, Any] | None:
        """State and seconds of each stage of an undisturbed hospital."""
        return self._kept.get("undisturbed")

    @undisturbed.setter
    def undisturbed(self, found: dict[str, Any]) -> None:
        self._kept["undisturbed"] = found
        self._keep()

    def find(self, fault: Fault) -> Outcome | None:
        """Returns what a fault came to; None: it was not played."""
        found = self._kept.get("outcomes", {}).get(str(fault))
        return Outcome(**found) if found else None

    def add(self, fault: Fault, outcome: Outcome) -> None:
        """Keeps what a fault came to."""
        self._kept.setdefault("outcomes", {})[str(fault)] = asdict(outcome)
        self._keep()

    def _keep(self) -> None:
        with whole_file(self._file) as partial:
            partial.write_text(json.dumps(self._kept, indent=1))


def tabulate(faults: list[Fault], record: Record) -> str:
    """Returns the table, a row a fault, with a sentence above it."""
    outcomes = {fault: record.find(fault) for fault in faults}
    played = [each for each in outcomes.values() if each is not None]
    equal = sum(not each.differences for each in played)
    lines = [
        f"Played: {len(played)} of {len(faults)}. Ended as if nothing had happened: {equal} of {len(played)}.",
        "",
        "| fault | aimed at | struck during | s after its beginning | days | end |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for fault, outcome in outcomes.items():
        if outcome is None:
            lines.append(f"| {fault} | {fault.stage} | | | | not run |")
            continue
        end = "; ".join(outcome.differences).replace("|", "/") or "as undisturbed"
        lines.append(f"| {fault} | {fault.stage} | {outcome.hit} | {outcome.after:.1f} | {outcome.days} | {end} |")
    return "\n".join(lines)


def write_page(faults: list[Fault], record: Record, page: Path = PAGE) -> None:
    """Puts the table into the page."""
    text = replace_section(page.read_text(encoding="utf-8"), "faults", tabulate(faults, record))
    with whole_file(page) as partial:
        partial.write_text(text, encoding="utf-8")
