"""The main job at a small size: real flows on a Prefect server, a real MLflow store, real training."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from bcd.cli.demo import demo
from bcd.errors import BcdError
from bcd.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that this process connects to."""
    asked: list[str] = []
    connect = socket.socket.connect

    def note(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple):
            asked.append(str(address[0]))
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", note)
    return asked


@pytest.fixture
def played(tiny_home: Path, prefect_server: None, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    demo(data=None, protocol="")
    return tiny_home, capsys.readouterr().out


def test_a_delivery_goes_in_and_a_scored_patient_comes_out(
    addresses: list[str], played: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    home, shown = played
    assert set(addresses) <= {"127.0.0.1", "::1", "localhost"}, "something reached out of this machine"
    settings = load_settings()
    _everything_is_there(home)
    _the_registry_tells_the_story()
    _the_summary_says_it(shown)
    _the_parquet_holds_one_row_a_patch()
    _the_command_at_the_end_works_from_any_folder(shown, home)

    demo(data=None, protocol="")
    again = capsys.readouterr().out
    assert "holds a demo already" in again
    _the_registry_tells_the_story()  # and no third version

    with pytest.raises(BcdError, match="holds a demo on synthetic"):
        demo(data=None, protocol="cruz-roa-2014")
    assert settings.home == home


def _everything_is_there(home: Path) -> None:
    assert len(list((home / "store/batches").glob("*/pixels.npy"))) == 2
    assert len(list((home / "store/snapshots").glob("*/manifest.json"))) == 2
    [report] = home.glob("scores/synthetic/*/*/report.html")
    assert "Research use only" in report.read_text()
    assert list(report.parent.glob("heatmap-*.png"))
    assert not list(home.rglob(".partial-*"))


def _the_registry_tells_the_story() -> None:
    from bcd.gate.history import list_versions

    first, second = list_versions(load_settings())
    assert first.verdict == "PROMOTE"
    assert "no champion" in first.reasons
    assert second.verdict in {"PROMOTE", "HOLD", "REJECT"}
    assert second.reasons
    champion = second if second.verdict == "PROMOTE" else first
    assert "champion" in champion.aliases
    assert 0 <= second.metrics["test_auroc_pooled"] <= 1


def _the_summary_says_it(shown: str) -> None:
    for step in range(1, 6):
        assert f"{step}/5" in shown
    for word in ("delivery-1.zip", "delivery-2.zip", "AUROC", "99.99 %", "PROMOTE", "report.html", " up"):
        assert word in shown
    assert "Traceback" not in shown
    assert re.search(r"\[\.\d+, (1|\.\d+)", shown), "no interval is shown"


def _the_command_at_the_end_works_from_any_folder(shown: str, home: Path) -> None:
    [line] = [line for line in shown.splitlines() if line.endswith(" up")]
    *command, last = shlex.split(line.partition("just ran: ")[2])
    assert last == "up"  # which tests/integration/test_servers.py runs
    assert command[1:] == ["--home", str(home)]
    outside = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}  # no environment is activated, and no BCD_HOME named
    done = subprocess.run([*command, "history"], cwd="/", env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PROMOTE" in done.stdout


def _the_parquet_holds_one_row_a_patch() -> None:
    from bcd.snapshots.splits import split_of
    from bcd.store.ledger import list_scores
    from bcd.store.patients import patient_patches
    from bcd.store.store import open_store

    settings = load_settings()
    store = open_store(settings)
    [entry] = list_scores(store)
    scores = pd.read_parquet(settings.home / entry.folder / "scores.parquet")
    patches = patient_patches(store, entry.hospital, entry.patient)
    assert len(scores) == len(patches)
    assert scores["probability"].between(0, 1).all()
    assert split_of(store, "dealt", entry.hospital, entry.patient) == "test"
