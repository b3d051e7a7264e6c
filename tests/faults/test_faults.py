"""Whatever goes wrong in a hospital's day: when all runs again, it ends as if nothing had happened.

Each row is a home of its own, with the servers of `bcd up`; `make faults` plays those that were not played before,
and writes docs/explanation/reliability.md. Several may be played side by side: `make faults ARGS="-n 3"`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from day import Disturbance, compare, leave_alone, live, measure_stages, read_state
from faults import Fault, find_faketime, list_faults
from hospital import at_work
from record import Outcome, Record

from bcd.settings import load_settings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.environ.get("BCD_TEST_FULL") != "1", reason="takes hours: make faults"),
]

DISK = 400  # MiB: more than a day takes

MakeOnce = Callable[[str, Callable[[Path], object]], Path]
MakeHome = Callable[[Path], Path]


@pytest.fixture(scope="session")
def record() -> Record:
    return Record()


@pytest.fixture(scope="session")
def undisturbed(make_once: MakeOnce, make_home: MakeHome, delivery: Path) -> dict[str, Any]:
    """What the day of a hospital comes to that nothing disturbs, and the seconds of each stage.

    It is played with each command: another machine, or another commit, comes to other figures.
    """

    def play(folder: Path) -> None:
        with at_work(make_home(folder)) as hospital:
            assert live(hospital, delivery, leave_alone) == 1
            assert hospital.list_running() == []
            day = {"seconds": measure_stages(hospital), "state": read_state(load_settings())}
        (folder / "day.json").write_text(json.dumps(day))

    day: dict[str, Any] = json.loads((make_once("undisturbed", play) / "day.json").read_text())
    return day


@pytest.fixture
def postgres_variables(request: pytest.FixtureRequest, fault: Fault) -> dict[str, str]:
    """The variables that put catalog and studies on PostgreSQL, where that is what goes wrong."""
    if fault.kind != "PostgreSQL":
        return {}
    postgres = request.getfixturevalue("postgres")
    catalog = postgres.make_database(request.getfixturevalue("empty_catalog"))
    return {"BCD_CATALOG_URL": postgres.url(catalog), "BCD_STUDY_URL": postgres.url(postgres.make_database())}


@pytest.fixture
def home(make_home: MakeHome, fault: Fault, disk: Callable[[int], Path], tmp_path: Path) -> Path:
    return make_home(disk(DISK) if fault.kind == "disk full" else tmp_path)


@pytest.fixture
def clock_variables(fault: Fault, home: Path) -> dict[str, str]:
    """The variables by which a file says what time it is, where the clock is what goes wrong."""
    if not fault.kind.startswith("clock"):
        return {}
    library = find_faketime()
    if not library:
        pytest.skip("libfaketime is not installed")
    (home / "clock").write_text("+0")
    file = {"FAKETIME_TIMESTAMP_FILE": str(home / "clock"), "FAKETIME_CACHE_DURATION": "1"}
    return {"LD_PRELOAD": library, "DONT_FAKE_MONOTONIC": "1"} | file


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault, id=str(fault), marks=pytest.mark.skipif(Record().find(fault) is not None, reason="played before")
        )
        for fault in list_faults()
    ],
)
def test_whatever_goes_wrong_it_ends_as_if_nothing_had_happened(
    *,
    fault: Fault,
    record: Record,
    undisturbed: dict[str, Any],
    home: Path,
    postgres_variables: dict[str, str],
    clock_variables: dict[str, str],
    delivery: Path,
    request: pytest.FixtureRequest,
) -> None:
    postgres = request.getfixturevalue("postgres") if postgres_variables else None
    days, differences = 0, []
    with at_work(home, postgres=postgres, **postgres_variables, **clock_variables) as hospital:
        disturbance = Disturbance(fault, hospital, after=fault.part * undisturbed["seconds"][fault.stage])
        try:
            days = live(hospital, delivery, disturbance)
        except AssertionError as error:
            differences.append(str(error))
        differences += [] if disturbance.hit else ["it never struck"]
        differences += [f"{each} is called running for ever" for each in hospital.list_running()]
        differences += compare(read_state(load_settings()), undisturbed["state"])
    record.add(fault, Outcome(disturbance.hit, disturbance.after, days, differences))
    assert differences == []
