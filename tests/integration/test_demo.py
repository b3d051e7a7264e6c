"""The main job at a small size, from the wheel: real flows on a Prefect server, a real MLflow, real training."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from closed_network import WatchedNetwork, watch_network
from installed import Installation

from bcd.gate.history import list_versions_with_verdicts
from bcd.settings import Settings, load_settings
from bcd.snapshots.splits import split_of
from bcd.store.decisions import list_stored_decisions
from bcd.store.ledger import list_ledger
from bcd.store.patients import list_stored_patches
from bcd.store.store import open_store

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Played:
    """A demo that was played in an empty folder, from the installed wheel.

    Attributes:
        installation: The wheel and the folder.
        settings: Those of the demo's home.
        shown: What the command printed.
        network: The network that it was played in, of loopback alone where this user may make one.
        attempts: The kernel's count of attempts to reach beyond this machine.
    """

    installation: Installation
    settings: Settings
    shown: str
    network: WatchedNetwork
    attempts: dict[str, int]


@pytest.fixture(scope="module")
def played(site: Path, tiny_options: str, tmp_path_factory: pytest.TempPathFactory) -> Played:
    installation = Installation(site, tmp_path_factory.mktemp("demo"))
    installation.home.mkdir()
    (installation.home / "bcd.toml").write_text(tiny_options)
    with watch_network(tmp_path_factory.mktemp("noted")) as network:
        shown = installation.bcd("demo", **network.variables())
        attempts = network.count_attempts() if network.is_closed else {}
    return Played(installation, load_settings(installation.home), shown, network, attempts)


def test_it_reaches_nothing_outside_this_machine(played: Played) -> None:
    assert "127.0.0.1" in played.network.list_addresses()
    assert played.network.list_addresses_outside() == set()
    assert played.attempts == {}


def test_a_delivery_goes_in_and_a_scored_patient_comes_out(played: Played) -> None:
    home = played.settings.home
    assert len(list((home / "store/batches").glob("*/pixels.npy"))) == 2
    assert len(list((home / "store/snapshots").glob("*/manifest.json"))) == 2
    [report] = home.glob("scores/synthetic/*/*/report.html")
    assert "Research use only" in report.read_text()
    assert list(report.parent.glob("heatmap-*.webp"))


def test_nothing_half_done_is_left_and_nothing_where_the_command_was_typed(played: Played) -> None:
    assert not list(played.settings.home.rglob(".partial-*"))
    assert {path.name for path in played.installation.folder.iterdir()} <= {"home", "user"}


def test_the_parquet_holds_one_row_a_patch_of_a_test_patient(played: Played) -> None:
    store = open_store(played.settings)
    [entry] = list_ledger(store)
    scores = pd.read_parquet(played.settings.home / entry.folder / "scores.parquet")
    patches = list_stored_patches(store, entry.hospital, entry.patient)
    assert len(scores) == len(patches)
    assert scores["probability"].between(0, 1).all()
    assert split_of(store, "dealt", entry.hospital, entry.patient) == "test"


def test_the_summary_names_deliveries_figures_and_pages(played: Played) -> None:
    for step in range(1, 6):
        assert f"{step}/5" in played.shown
    for word in ("delivery-1.zip", "delivery-2.zip", "AUROC", "99.99 %", "PROMOTE", "report.html", " up"):
        assert word in played.shown
    assert "Traceback" not in played.shown
    assert re.search(r"\[\.\d+, (1|\.\d+)", played.shown), "no interval is shown"


def test_the_command_at_the_end_works_from_any_folder(played: Played) -> None:
    [line] = [line for line in played.shown.splitlines() if line.endswith(" up")]
    *command, last = shlex.split(line.partition("just ran: ")[2])
    assert last == "up"  # which tests/integration/test_servers.py runs
    assert command[1:] == ["--home", str(played.settings.home)]
    outside = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}  # no environment is activated, and no BCD_HOME named
    done = subprocess.run(
        [*command, "model", "history"], cwd="/", env=outside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "PROMOTE" in done.stdout


def test_played_again_everything_is_found_done(played: Played) -> None:
    _the_second_version_challenged_the_first(played)
    assert str(played.settings.home) in played.installation.bcd("demo")
    _the_second_version_challenged_the_first(played)  # and no third


def _the_second_version_challenged_the_first(played: Played) -> None:
    first, second = list_versions_with_verdicts(played.settings)
    assert first.verdict == "PROMOTE"
    assert list_stored_decisions(open_store(played.settings))[0].champion is None
    assert second.verdict in {"PROMOTE", "HOLD", "REJECT"}
    assert second.reasons
    champion = second if second.verdict == "PROMOTE" else first
    assert "champion" in champion.aliases
    assert 0 <= second.metrics["test_auroc_pooled"] <= 1
