"""A slot of a named limit: held while a stage works, given back by it or by its killed process's lease."""

from __future__ import annotations

import importlib
from threading import Event, Thread

import pytest

from bcd.errors import NotFoundError
from flows.limits import TRAINING, hold_slot


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_where_all_slots_are_held_the_next_waits_until_one_is_given_back() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(TRAINING, 1)
        entered = Event()

        def work() -> None:
            with hold_slot(TRAINING):
                entered.set()

        other = Thread(target=work)
        with hold_slot(TRAINING):
            assert client.read_global_concurrency_limit_by_name(TRAINING).active_slots == 1
            other.start()
            assert not entered.wait(1)
        assert entered.wait(120)
        other.join()
        assert client.read_global_concurrency_limit_by_name(TRAINING).active_slots == 0
        client.delete_global_concurrency_limit_by_name(TRAINING)


@pytest.mark.parametrize(
    ("module", "given"), [("score", {"patient": "nobody"}), ("search", {"plan": "abc"}), ("train", {"plan": "abc"})]
)
@pytest.mark.usefixtures("settings")
def test_what_is_not_there_is_refused_before_anybody_waits_for_a_slot(
    module: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_limit: str) -> None:
        raise AssertionError("it waited for a slot")

    stage = importlib.import_module(f"flows.{module}")
    monkeypatch.setattr(stage, "hold_slot", wait)
    with pytest.raises(NotFoundError):
        getattr(stage, module).fn.__wrapped__(**given)


def test_without_a_server_nobody_waits() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}), hold_slot(TRAINING), hold_slot(TRAINING):
        assert PREFECT_API_URL.value() is None
