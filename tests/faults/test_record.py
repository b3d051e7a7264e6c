"""The record of what was played: it outlives the command, and the page says what was not played."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

from faults import STAGES, list_faults
from record import PAGE, RECORD, Outcome, Record, tabulate, write_page


def test_as_many_of_each_kind_as_promised_spread_over_the_stages() -> None:
    kinds = Counter(fault.kind for fault in list_faults())
    assert kinds["flow process"] == 20
    assert {kinds[kind] for kind in ("worker", "Prefect server", "MLflow server", "PostgreSQL")} == {5}
    assert len(kinds) == 13
    struck = Counter(fault.stage for fault in list_faults() if fault.kind == "flow process")
    assert set(struck) == set(STAGES)
    assert set(struck.values()) == {2, 3}
    assert list_faults() == list_faults()


def test_what_was_played_is_found_again_and_the_rest_is_said_to_be_not_run(tmp_path: Path) -> None:
    first, second, *_ = list_faults()
    page = tmp_path / "reliability.md"
    page.write_text(PAGE.read_text())
    record, other = (Record(tmp_path / "record.json") for _ in range(2))  # of two processes
    record.add(first, Outcome("search", 1.23, 2, []), page)
    other.add(second, Outcome("train", 0.5, 1, ["scored: 2 instead of 1"]), page)
    assert "Played: 2 of 52" in page.read_text()
    again = Record(tmp_path / "record.json")
    assert again.find(first) == Outcome("search", 1.23, 2, [])
    sentence, _, _, _, *rows = tabulate(list_faults(), again).splitlines()
    assert "Played: 2 of 52. Ended as if nothing had happened: 1 of 2." in sentence
    assert rows[0].split("|")[3:7] == [" search ", " 1.2 ", " 2 ", " as undisturbed "]
    assert "scored: 2 instead of 1" in rows[1]
    assert [row.endswith("| not run |") for row in rows] == [False, False] + [True] * 50


def test_the_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text(PAGE.read_text())
    write_page(list_faults(), Record(tmp_path / "none.json"), page)
    assert "Played: 0 of 52" in page.read_text()
    assert page.read_text().count("| flow process 20 |") == 1


def test_the_page_tells_the_record_that_is_committed(tmp_path: Path) -> None:
    """Regression: the record stood in a folder that git ignores, and the next row played elsewhere was the first."""
    ignored = subprocess.run(["git", "check-ignore", "--quiet", str(RECORD)], cwd=PAGE.parent, check=False)
    assert ignored.returncode == 1
    page = tmp_path / "reliability.md"
    page.write_text(PAGE.read_text())
    write_page(list_faults(), Record(), page)
    assert page.read_text() == PAGE.read_text()
