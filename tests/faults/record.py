"""What was played so far, and the table made of it.

The record is committed beside its page, so that `make faults` goes on where it was stopped, on whatever machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from faults import Fault
from simulations import replace_section

from bcd.files import whole_file

_FOLDER = Path(__file__).parents[2] / "docs/explanation"
RECORD = _FOLDER / "faults.json"
PAGE = _FOLDER / "reliability.md"


@dataclass(frozen=True)
class Outcome:
    """What a fault came to.

    Attributes:
        hit: What was under way when it struck.
        after: Seconds since its stage had begun.
        days: Days until everything was done; an undisturbed hospital takes one.
        differences: From an undisturbed hospital; none: it ended as if nothing had happened.
    """

    hit: str
    after: float
    days: int
    differences: list[str]


class Record:
    """The outcomes so far.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path = RECORD) -> None:
        self._file = file
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        self._outcomes = {name: Outcome(**outcome) for name, outcome in kept.items()}

    def find(self, fault: Fault) -> Outcome | None:
        """Returns what a fault came to; None: it was not played."""
        return self._outcomes.get(str(fault))

    def add(self, fault: Fault, outcome: Outcome) -> None:
        """Keeps what a fault came to."""
        self._outcomes[str(fault)] = outcome
        kept = {name: asdict(outcome) for name, outcome in self._outcomes.items()}
        with whole_file(self._file) as partial:
            partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


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
