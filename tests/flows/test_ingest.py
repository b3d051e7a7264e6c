"""The scheduled ingest: one delivery never stops another, and what waits for a person is said on the dashboard."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from delivering import picture, write_zip

from bcd.admission import admit as engine
from bcd.admission.sources.source import Source
from bcd.errors import UnavailableError
from bcd.settings import Settings
from bcd.store.delivery_queries import list_batches, list_stored_deliveries
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("BCD_INBOX_QUIET_SECONDS", "0")
    store = open_store(settings)
    for hospital in ("east", "west"):
        declare_hospital(store, hospital, "pseudonyms", SignOff("test", "test"))
    return store


def _deliver(settings: Settings, hospital: str, name: str, patient: str) -> Path:
    files = {f"{patient}_idx5_x1_y1_class0.png": picture(int(patient))}
    return write_zip(settings.inbox / hospital / name, files)


def test_one_poisoned_delivery_stops_no_other_of_any_hospital(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.ingest import ingest

    for hospital, name, patient in (
        ("east", "a-good.zip", "1"),
        ("east", "b-poisoned.zip", "666"),
        ("east", "c-good.zip", "2"),
        ("west", "good.zip", "3"),
    ):
        _deliver(store.settings, hospital, name, patient)
    examine = engine.examine_files  # type: ignore[attr-defined]

    def crash(source: Source, *rest: object) -> object:
        if any(name.startswith("666_") for name in source.names):
            raise BufferError("memoryview: underlying buffer is not C-contiguous")
        return examine(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "examine_files", crash)
    logging.getLogger("prefect.task_runs").addHandler(caplog.handler)
    try:
        state = ingest(return_state=True)
    finally:
        logging.getLogger("prefect.task_runs").removeHandler(caplog.handler)
    assert state.is_failed()
    assert "b-poisoned.zip" in str(state.message)
    assert "BufferError" in str(state.message)
    assert "Traceback" in caplog.text
    assert {batch.name for batch in list_batches(store)} == {"a-good.zip", "c-good.zip", "good.zip"}
    [refused] = [each for each in list_stored_deliveries(store) if each.reason]
    assert refused.refused == {"failed": 1}
    assert (store.settings.reports / f"{refused.id[:12]}.html").exists()
    assert (store.settings.set_aside / "east" / "b-poisoned.zip").exists()
    assert ingest() == []


def test_a_fault_of_the_machine_leaves_one_delivery_waiting_and_the_others_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ingest import ingest

    slides = _deliver(store.settings, "east", "a-slides.zip", "4")
    _deliver(store.settings, "west", "good.zip", "5")
    examine = engine.examine_files  # type: ignore[attr-defined]

    def miss(source: Source, *rest: object) -> object:
        if any(name.startswith("4_") for name in source.names):
            raise ModuleNotFoundError("No module named 'openslide'", name="openslide")
        return examine(source, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "examine_files", miss)
        for _ in range(4):
            state = ingest(return_state=True)
            assert state.is_failed()
    assert "openslide" in str(state.message)
    assert slides.exists()
    [admission] = ingest()
    assert admission.delivery == "a-slides.zip"
    assert len(list_batches(store)) == 2


def test_several_failures_are_all_told(store: Store) -> None:
    from flows.ingest import ingest

    for hospital in ("east", "west"):
        _deliver(store.settings, hospital, f"{hospital}.zip", "6").write_bytes(b"7z\xbc\xaf\x27\x1c")
    _deliver(store.settings, "west", "good.zip", "7")
    state = ingest(return_state=True)
    assert re.match(r"2 deliveries .*; 1 ", str(state.message))
    assert {"east.zip", "west.zip"} == set(re.findall(r"(\w+\.zip) ", str(state.message)))


@pytest.mark.usefixtures("store")
def test_deliveries_of_a_hospital_that_nobody_declared_are_a_warning_on_the_dashboard(settings: Settings) -> None:
    from prefect.artifacts import Artifact

    from flows.ingest import ingest

    for name in ("a.zip", "b.zip"):
        _deliver(settings, "north", name, "8")
    assert ingest() == []
    artifact = Artifact.get("waiting")
    assert artifact is not None
    assert "Warning" in str(artifact.description)
    assert re.search(rf"\b2 deliveries .*{re.escape(str(settings.inbox / 'north'))}", str(artifact.data))
    assert "`bcd hospital declare north --identifiers" in str(artifact.data)


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_delivery_that_another_run_has_taken_fails_no_run(
    store: Store, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import ingest as module

    path = _deliver(store.settings, "east", "monday.zip", "9")

    def miss(path: Path, *_: object) -> None:
        if is_taken:
            path.unlink()
        raise UnavailableError(f"{path} cannot be admitted now.", "Wait.")

    monkeypatch.setattr(module, "admit_delivery_task", miss)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "as the watcher starts it")
    state = module.ingest("east/monday.zip", "east", return_state=True)
    assert state.is_completed() == is_taken
    assert path.exists() != is_taken
