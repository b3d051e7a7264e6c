"""What every process of bcd is told before Prefect, MLflow and TensorFlow are imported."""

from __future__ import annotations

import json
import socket

import pytest

from bcd.runtime import environment
from bcd.settings import Settings


def test_telemetry_is_off_whatever_the_user_has_set(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    variables = environment(settings)
    # MLflow understands only "true", and Prefect's server has a switch of its own.
    assert variables["DO_NOT_TRACK"] == "true"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_prefect_keeps_its_state_under_bcd_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    assert environment(settings)["PREFECT_HOME"].startswith(str(settings.home))


def test_a_default_of_the_user_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert environment(settings)["KERAS_BACKEND"] == "jax"


def test_servers_are_used_only_while_they_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    settings.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings.servers.write_text(json.dumps({"urls": {"prefect": url, "mlflow": url}, "processes": {}}))
        variables = environment(settings)
        assert variables["PREFECT_API_URL"] == f"{url}/api"
        assert variables["MLFLOW_TRACKING_URI"] == url
    assert "PREFECT_API_URL" not in environment(settings)
    assert "MLFLOW_TRACKING_URI" not in environment(settings)
