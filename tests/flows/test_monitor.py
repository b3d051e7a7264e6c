"""Drift on the dashboard: a delivery not to be trusted leaves a warning and an event, and monitor the trend."""

from __future__ import annotations

from collections import ChainMap
from pathlib import Path

import numpy as np
import pytest
from delivering import name_pixels, write_folder
from released_model import TISSUE

from bcd.drift.state import UNTRUSTED
from bcd.gate.adoption import make_released_champion
from bcd.scoring.options import ScoreOptions
from bcd.settings import Settings
from bcd.store.delivery_queries import list_stored_deliveries
from bcd.store.drift import list_drift
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.tracking.store import find_run, open_mlflow_client

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server")]
ME = SignOff("test", "test")


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("BCD_INBOX_QUIET_SECONDS", "0")
    store = open_store(settings)
    for hospital in ("public", "east"):
        declare_hospital(store, hospital, "pseudonyms", ME)
    return store


def deliver(settings: Settings, hospital: str, name: str, pixels: np.ndarray) -> Path:
    """Puts four patches of each of five patients into the inbox."""
    files = [name_pixels(f"{name}{number}", pixels[4 * number : 4 * number + 4]) for number in range(5)]
    return write_folder(settings.inbox / hospital / name, dict(ChainMap(*files)))


def learned(seed: int) -> np.ndarray:
    """Tissue as the made-up released model learned from."""
    light = np.random.default_rng(seed).integers(-12, 13, 5).repeat(4)[:, None, None, None]
    return np.clip(TISSUE[:20].astype(int) + light, 0, 255).astype(np.uint8)


def find_events(name: str, resource: str, delivery: str) -> list[dict]:
    """Asks the server, which other tests tell of theirs, for the events of a name about a resource and a delivery."""
    import time

    import httpx
    from prefect.settings import PREFECT_API_URL

    for _ in range(40):
        asked = {"filter": {"event": {"name": [name]}, "resource": {"id": [resource]}, "order": "ASC"}}
        events = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=asked).json()["events"]
        if found := [event for event in events if event["payload"]["delivery"] == delivery]:
            return found
        time.sleep(0.25)
    return []


def read_drift(key: str) -> dict[str, str]:
    """Reads the column drift of a table on the dashboard, by what its first column names."""
    from prefect.artifacts import Artifact

    header, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in str(Artifact.get(key).data).splitlines()
        if line.startswith("|")
    ]
    return {row[0]: row[header.index("drift")] for row in rows}


def test_a_delivery_not_to_be_trusted_warns_and_the_trend_follows_each_hospital(
    store: Store, settings: Settings, released: Path
) -> None:
    from prefect.artifacts import Artifact

    from flows.ingest import ingest
    from flows.monitor import monitor
    from flows.score import score

    assert monitor() == []  # no champion
    deliver(settings, "public", "before", learned(1))
    ingest()
    assert list_drift(store) == []
    assert read_drift("admission") == {"before": "not compared"}
    make_released_champion(store, ME)

    deliver(settings, "public", "pale", (255 - (255 - learned(2)) // 3).astype(np.uint8))
    deliver(settings, "east", "new", learned(3))
    ingest()
    found = {one.delivery: one for one in list_drift(store)}
    by_name = {each.name: found.get(each.id) for each in list_stored_deliveries(store)}
    assert by_name["pale"].level == UNTRUSTED
    assert by_name["new"].state["foreign"]
    assert by_name["before"] is None
    assert read_drift("admission") == {"pale": by_name["pale"].title, "new": by_name["new"].title}
    assert by_name["new"].title == f"{by_name['new'].level}, foreign hospital"
    assert "pale of public" in str(Artifact.get("drift").data)
    [event] = find_events("bcd.drift", "bcd.hospital.public", by_name["pale"].delivery)
    assert event["payload"]["level"] == UNTRUSTED
    page = (settings.reports / f"{by_name['pale'].delivery[:12]}.html").read_text()
    assert "not to be relied on" in page[: page.index('class="figures"')]

    scored = score(all_that_wait=True, options=ScoreOptions())
    assert {each.drift.state.colour for each in scored if each.patient.startswith("pale")} == {"red"}
    assert read_drift("scored") == {f"{each.hospital}/{each.patient}": each.drift.state.title for each in scored}
    score(patient="pale0", hospital="public", options=ScoreOptions())
    assert "drift: **not to be relied on**" in str(Artifact.get("report-public-pale0").data)
    stages = {one.stage for one in list_drift(store) if one.delivery != by_name["before"]}
    assert stages == {"scoring"}

    rows = monitor()
    assert [(row.hospital, row.name, row.step) for row in rows] == [
        ("east", "new", 1),
        ("public", "before", 1),
        ("public", "pale", 2),
    ]
    assert rows[2].state.level == UNTRUSTED
    assert [row.state.foreign for row in rows] == [True, False, False]
    assert "pale" in str(Artifact.get("drift-trend").data)
    assert Artifact.get("drift-plot") is not None
    client = open_mlflow_client(settings)
    run = find_run(client, "monitor/bcd-idc/1")
    assert run.data.metrics["shift_public"] == pytest.approx(rows[2].shift)
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {"drift.csv", "drift.png"}
    assert monitor() == rows
    assert len(client.get_metric_history(run.info.run_id, "shift_public")) == 2
