"""`bcd up` before it starts anything, and `bcd down` where nothing runs; the rest is in tests/integration."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import psutil
import pytest

from bcd.cli import daemons
from bcd.errors import BcdError
from bcd.settings import Settings, load_settings


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_a_taken_port_is_named_with_the_setting(
    server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = {name: free.getsockname()[1] for name in ("prefect", "mlflow")}
        ports[server] = taken.getsockname()[1]
        free.close()
        for name, port in ports.items():
            monkeypatch.setenv(f"BCD_{name.upper()}_PORT", str(port))
        with pytest.raises(BcdError, match=f"Port {ports[server]} is taken.*BCD_{server.upper()}_PORT"):
            daemons.start(load_settings())
    assert not settings.servers.exists()


def test_nothing_runs_on_a_new_home(settings: Settings) -> None:
    assert daemons.stop(settings) == []
    assert daemons.running(settings) == {}


def test_a_process_that_took_over_the_number_is_never_stopped(settings: Settings) -> None:
    settings.home.mkdir()
    stranger = {"pid": os.getpid(), "started": 1.0}
    settings.servers.write_text(json.dumps({"urls": {}, "processes": {"worker": stranger}}))
    assert daemons.stop(settings) == []
    assert not settings.servers.exists()


@pytest.mark.parametrize("ours", [True, False])
def test_a_server_that_a_killed_command_left_is_ended_if_it_is_of_this_home(ours: bool, settings: Settings) -> None:
    sleep = "import time; time.sleep(60)"
    start = (
        "import subprocess, sys; quiet = subprocess.DEVNULL\n"
        f"command = [sys.executable, '-c', {sleep!r}, 'uvicorn', 'prefect.server.api.server:create_app']\n"
        "print(subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True).pid)\n"
    )
    home = settings.home if ours else settings.home / "another"
    environment = {**os.environ, "BCD_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", start], env=environment, capture_output=True, text=True, check=True)
    orphan = psutil.Process(int(done.stdout))
    try:
        if orphan.ppid() != 1:
            pytest.skip("another process than number 1 adopts orphans on this machine")
        daemons.end_orphans(settings)
        gone, alive = psutil.wait_procs([orphan], timeout=60 if ours else 0.5)
        assert bool(gone) == ours
        assert bool(alive) != ours
    finally:
        if orphan.is_running():
            orphan.kill()
