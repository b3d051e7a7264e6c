"""What every process of bcd is told before Prefect, MLflow and TensorFlow are imported."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from bcd.errors import BcdError, UnavailableError
from bcd.runtime import (
    find_prefect,
    read_running_servers,
    require_prefect,
    runtime_environment,
    tell_process_start,
)
from bcd.settings import Settings, load_settings


def test_telemetry_is_off_whatever_the_user_has_set(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    variables = runtime_environment(settings)
    # MLflow understands only "true", and Prefect's server has a switch of its own.
    assert variables["DO_NOT_TRACK"] == "true"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_prefect_keeps_its_state_under_bcd_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    assert runtime_environment(settings)["PREFECT_HOME"].startswith(str(settings.home))


def test_a_default_of_the_user_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert runtime_environment(settings)["KERAS_BACKEND"] == "jax"


def test_servers_are_used_only_while_they_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    settings.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings.servers.write_text(json.dumps({"home": str(settings.home), "urls": {"prefect": url, "mlflow": url}}))
        variables = runtime_environment(settings)
        assert variables["PREFECT_API_URL"] == f"{url}/api"
        assert variables["MLFLOW_TRACKING_URI"] == url
    assert "PREFECT_API_URL" not in runtime_environment(settings)
    assert "MLFLOW_TRACKING_URI" not in runtime_environment(settings)


def test_the_prefect_server_that_the_settings_name_is_used_although_it_does_not_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text('prefect_url = "http://127.0.0.1:9/api/"\n')
    named = load_settings()
    assert runtime_environment(named)["PREFECT_API_URL"] == "http://127.0.0.1:9/api"
    assert find_prefect(named) == "http://127.0.0.1:9"
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 .*prefect_url"):
        require_prefect(named)
    require_prefect(settings)  # that names none


@pytest.mark.parametrize("url", ["hospital:4200", "ftp://hospital", "http://lee:word@hospital:4200"])
def test_an_address_of_no_prefect_server_or_with_a_password_is_refused(settings: Settings, url: str) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text(f'prefect_url = "{url}"\n')
    with pytest.raises(BcdError, match="prefect_url"):
        load_settings()


def test_what_a_copied_home_says_of_servers_is_about_those_of_the_other_one(
    settings: Settings, tmp_path: Path
) -> None:
    settings.home.mkdir()
    settings.servers.write_text(json.dumps({"home": str(settings.home), "urls": {}, "processes": {"worker": {}}}))
    shutil.copytree(settings.home, tmp_path / "copy")
    assert "worker" in read_running_servers(settings)["processes"]
    assert read_running_servers(load_settings(tmp_path / "copy")) == {}


def test_a_process_is_known_again_although_somebody_set_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: after a clock's jump `bcd status` said of every server that it had ended."""
    known, booted = tell_process_start(os.getpid()), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600)
    assert psutil.Process().create_time() > booted + 3600  # which follows the clock
    assert tell_process_start(os.getpid()) == known != ""


def test_a_process_that_has_ended_started_never() -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        assert tell_process_start(process.pid)
        process.kill()
    assert tell_process_start(process.pid) == ""
