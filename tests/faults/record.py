"""What was played so far, and the table made of it.

The record is committed beside its page, so that `make faults` goes on where it was stopped, on whatever machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from faults import Fault, list_faults
from simulations import replace_section

from bcd.files import lock_file, whole_file

_FOLDER = Path(__file__).parents[2] / "docs/explanation"
RECORD = _FOLDER / "faults.json"
PAGE = _FOLDER / "reliability.md"
_LOCK = Path(__file__).parents[2] / ".bcd/faults.lock"


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
    """The outcomes so far, of all processes that play faults side by side.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path = RECORD) -> None:
        self._file = file
        self._outcomes = self._read()

    def _read(self) -> dict[str, Outcome]:
        kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        return {name: Outcome(**outcome) for name, outcome in kept.items()}

    def find(self, fault: Fault) -> Outcome | None:
        """Returns what a fault came to; None: it was not played."""
        return self._outcomes.get(str(fault))

    def add(self, fault: Fault, outcome: Outcome, page: Path = PAGE) -> None:
        """Keeps what a fault came to, and puts the table of all into the page."""
        with lock_file(_LOCK):
            self._outcomes = self._read() | {str(fault): outcome}
            kept = {str(each): asdict(known) for each in list_faults() if (known := self.find(each))}
            with whole_file(self._file) as partial:
                partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            write_page(list_faults(), self, page)


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
