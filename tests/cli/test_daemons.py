"""`bcd up` before it starts anything, and `bcd down` where nothing runs; the rest is in tests/integration."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from free_ports import find_free_port

from bcd.cli import daemons, processes
from bcd.cli.doctor import examine_machine
from bcd.cli.main import main
from bcd.errors import UnavailableError
from bcd.settings import Settings, load_settings


@pytest.mark.parametrize("servers", [["prefect"], ["mlflow"], ["prefect", "mlflow", "reports"]], ids=" ".join)
def test_taken_ports_are_named_at_once_with_their_settings(
    servers: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as listening:
        ports = {name: find_free_port() for name in processes.SERVERS}
        for name, port in ports.items():
            monkeypatch.setenv(f"BCD_{name.upper()}_PORT", str(port))
            if name in servers:
                listening.enter_context(socket.create_server(("127.0.0.1", port)))
        with pytest.raises(UnavailableError) as refused:
            daemons.start(load_settings())
    assert re.findall(r"\d{4,}", refused.value.what) == [str(ports[name]) for name in servers]
    assert re.findall(r"BCD_(\w+)_PORT", refused.value.fix) == [name.upper() for name in servers]
    assert not settings.servers.exists()


def test_prefects_server_drops_runs_of_ninety_days_ago_and_not_events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings as PrefectSettings

    image = (Path(__file__).parents[2] / "mlflow/Dockerfile").read_text()
    for variable, value in daemons._SERVERS.items():
        monkeypatch.setenv(variable, value)
        assert "VACUUM" not in variable or f"{variable}={value} " in image
    vacuum = PrefectSettings().server.services.db_vacuum
    assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert vacuum.retention_period == timedelta(days=90)


def test_a_server_elsewhere_is_not_started_here_and_is_asked_for_first(settings: Settings) -> None:
    there = settings.model_copy(update={"prefect_url": "http://127.0.0.1:9", "mlflow_url": "http://127.0.0.1:9"})
    needed = daemons.list_needed_daemons(settings) - daemons.list_needed_daemons(there)
    assert needed == {"prefect", "mlflow"}
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        daemons.start(there)
    assert not settings.home.exists()
    faults = [each.what for each in examine_machine(there) if each.level == "fault"]
    assert [what for what in faults if "127.0.0.1:9" in what and "Prefect" in what]


def test_nothing_runs_on_a_new_home(settings: Settings) -> None:
    assert daemons.stop(settings) == []
    assert ["`bcd up`" in line for line in daemons.describe_daemons(settings)] == [True]


def test_servers_elsewhere_are_named_where_nothing_runs_on_the_home(settings: Settings) -> None:
    there = settings.model_copy(update={"prefect_url": "http://prefect:4200", "mlflow_url": "http://mlflow:5000"})
    servers, here = daemons.describe_daemons(there)
    assert servers == "Prefect http://prefect:4200, MLflow http://mlflow:5000."
    assert "`bcd up`" in here


def test_a_process_that_took_over_the_number_is_never_stopped(settings: Settings) -> None:
    settings.home.mkdir()
    stranger = {"pid": os.getpid(), "started": "before"}
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
        daemons.end_orphaned_daemons(settings)
        gone, alive = psutil.wait_procs([orphan], timeout=60 if ours else 0.5)
        assert bool(gone) == ours
        assert bool(alive) != ours
    finally:
        if orphan.is_running():
            orphan.kill()


URLS = dict.fromkeys(("prefect", "mlflow", "studies", "reports"), "http://127.0.0.1:9")


def _started(settings: Settings, *names: str) -> dict[str, subprocess.Popen[bytes]]:
    """Starts processes as `bcd up` does, that only wait."""
    folder = processes.process_temporary_folder(settings)
    environment = {**os.environ, **processes.mark(settings, folder)}
    begun = {}
    for name in names:
        begun[name] = subprocess.Popen(["sleep", "300"], env=environment, start_new_session=True)
        processes.record_process(settings, name, begun[name].pid, URLS)
    return begun


def test_what_ended_by_itself_is_named_with_its_log_beside_what_runs(settings: Settings) -> None:
    begun = _started(settings, "prefect", "worker", "mlflow", "studies", "reports")
    begun["worker"].kill()
    begun["worker"].wait()
    lines = daemons.describe_daemons(settings)
    doctor = [finding for finding in examine_machine(settings) if "ended by itself" in finding.what]
    for process in begun.values():
        process.kill()
        process.wait()
    assert len(lines) == 2
    assert "Prefect http://127.0.0.1:9" in lines[0]
    assert "worker" not in lines[0]
    assert str(settings.logs / "worker.log") in lines[1]
    assert "`bcd up`" in lines[1]
    assert [finding.level for finding in doctor] == ["warning"]
    assert doctor[0].what in lines[1]


def test_a_port_that_our_own_killed_server_holds_is_not_another_program_s(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("BCD_PREFECT_PORT", str(server.getsockname()[1]))
        begun = _started(settings, "prefect")["prefect"]  # of which the port's holder is a child
        child = _started(settings, "studies")["studies"]
        begun.kill()
        begun.wait()
        settings.servers.write_text(json.dumps({"home": str(settings.home), "processes": {}}))
        [found] = [
            each for each in examine_machine(load_settings()) if "Prefect" in each.what or "for prefect" in each.what
        ]
        child.kill()
        child.wait()
    assert "`bcd up`" in found.what


def test_stopping_ends_what_outlived_its_server_removes_the_temporary_files_and_leaves_others_alone(
    settings: Settings,
) -> None:
    orphan = _started(settings, "worker")["worker"]
    folder = processes.process_temporary_folder(settings)
    (folder / "left").write_text("")
    settings.servers.write_text(json.dumps({"home": str(settings.home), "temporary": str(folder), "processes": {}}))
    own_terminal = subprocess.Popen(["sleep", "300"], env={**os.environ, "BCD_HOME": str(settings.home)})
    other_home = _started(settings.model_copy(update={"home": settings.home / "another"}), "worker")["worker"]
    try:
        assert daemons.stop(settings) == []
        orphan.wait(timeout=60)
        assert not folder.exists()
        assert own_terminal.poll() is None
        assert other_home.poll() is None
    finally:
        for process in (own_terminal, other_home):
            process.kill()
            process.wait()


def test_up_on_a_home_without_a_champion_names_the_command_that_gives_it_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls: dict[str, str] = defaultdict(lambda: "http://127.0.0.1:1")
    monkeypatch.setattr(daemons, "start", lambda *_, **__: SimpleNamespace(told=[], urls=urls))
    monkeypatch.setattr(daemons, "runs_page", lambda *_: urls["mlflow"])
    monkeypatch.setattr(sys, "argv", ["bcd", "up"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "bcd model adopt released --by NAME --reason TEXT" in capsys.readouterr().out
