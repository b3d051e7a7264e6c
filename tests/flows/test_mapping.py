"""Where a run has many patients scored and many slides cut, and what it says where that cannot be."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import pytest
from distributed import LocalCluster
from free_ports import find_free_port

from bcd.errors import BcdError, UnavailableError
from bcd.settings import Settings
from flows import mapping
from flows.mapping import Here, open_mapper


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(mapping, "_PATIENCE_SECONDS", 1.0)
    return settings.model_copy(update={"run": {"engine": "dask"}})


def at(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"run": {"engine": "dask", "dask_address": address}})


def fail_to_open(settings: Settings) -> BcdError:
    with pytest.raises(BcdError) as raised, open_mapper(settings):
        pass
    return raised.value


@contextmanager
def make_cluster(workers: int, threads: int) -> Iterator[str]:
    with LocalCluster(
        n_workers=workers, threads_per_worker=threads, processes=False, protocol="tcp", dashboard_address=None
    ) as made:
        yield made.scheduler_address


def test_it_is_this_process_unless_the_settings_say_otherwise(settings: Settings) -> None:
    with open_mapper(settings.model_copy(update={"run": {}})) as mapper:
        assert isinstance(mapper, Here)
        assert mapper.width == 1


def test_what_is_to_be_installed_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    assert "pip install 'bcd[dask]'" in fail_to_open(settings).fix


def test_a_scheduler_that_does_not_answer_is_named(settings: Settings) -> None:
    address = f"tcp://127.0.0.1:{find_free_port()}"
    error = fail_to_open(at(settings, address))
    assert isinstance(error, UnavailableError)
    assert address in error.what


def test_a_scheduler_without_processes_is_named(settings: Settings) -> None:
    with make_cluster(0, 1) as address:
        error = fail_to_open(at(settings, address))
    assert isinstance(error, UnavailableError)
    assert address in error.what


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_nobody_waits_for_processes_that_have_all_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow, task

    @task
    def double(number: int) -> int:
        return 2 * number

    monkeypatch.setattr(mapping, "_LOOK_SECONDS", 0.2)

    @flow
    def run() -> None:
        with make_cluster(1, 1) as address, open_mapper(at(settings, address)) as mapper:
            assert isinstance(mapper, mapping.OnDask)
            mapper._runner.client.retire_workers()
            with pytest.raises(UnavailableError):
                list(mapper.run_each(double, [("Number 1", {"number": 1})]))
            with pytest.raises(UnavailableError):
                mapper.submit(double, ("Number 1", {"number": 1}))()

    run()


@pytest.mark.integration
@pytest.mark.skipif(os.environ.get("BCD_TEST_FULL") != "1", reason="begins processes anew, again and again")
@pytest.mark.usefixtures("prefect_server")
def test_a_call_that_ends_one_process_after_another_is_named_and_takes_no_other_with_it(settings: Settings) -> None:
    from prefect import flow, task

    @task
    def double(number: int) -> int:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            raise BcdError("Four is too many.", "Take three.")
        return 2 * number

    outcomes: dict[int, object] = {}

    @flow
    def run() -> None:
        with open_mapper(settings) as mapper:
            calls = [(f"Number {number}", {"number": number}) for number in range(7)]
            for place, outcome in mapper.run_each(double, calls):
                try:
                    outcomes[place] = outcome()
                except BcdError as error:
                    outcomes[place] = error.what

    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        run()
    killed = str(outcomes.pop(2))
    assert killed.startswith("Number 2: 2 processes")
    assert outcomes == {0: 0, 1: 2, 3: 6, 4: "Four is too many.", 5: 10, 6: 12}


def test_processes_of_several_threads_are_refused(settings: Settings) -> None:
    with make_cluster(1, 2) as address:
        assert "--nthreads 1" in fail_to_open(at(settings, address)).fix
