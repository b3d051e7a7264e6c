"""The bundle behind HTTP, as MLflow serves it, in a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from free_ports import find_free_port

from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

pytestmark = pytest.mark.integration

PIXELS = np.random.default_rng(3).integers(0, 256, (4, 50, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle(register, shared_settings):
    found = register(shared_settings, "lit", "red", turns=8)
    open_mlflow_client(shared_settings).set_registered_model_alias(MODEL, "champion", found.version)
    return found


@pytest.fixture(scope="module")
def server(bundle, shared_settings, tmp_path_factory):
    """`mlflow models serve` on a free port; ended with its children."""
    port = find_free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    programs = Path(sys.executable).parent
    command = [str(programs / "mlflow"), "models", "serve", "-m", f"models:/{MODEL}@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{shared_settings.mlflow / 'mlflow.db'}"}
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"  # MLflow looks for uvicorn there
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=file, stderr=file, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/ping", process, log)
        yield url
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, and `_wait_for` says why
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_for(url, process, log):
    until = time.monotonic() + 480  # TensorFlow is imported first, perhaps on a busy machine
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"no answer: {log.read_text()}")


def test_a_server_answers_with_the_bundles_scores(server, bundle):
    answer = httpx.post(f"{server}/invocations", json={"inputs": PIXELS.tolist()}, timeout=60)

    assert answer.status_code == 200, answer.text
    rows, expected = answer.json()["predictions"], bundle.score(PIXELS)
    assert list(rows[0]) == list(expected.columns)
    for name in expected.columns:
        np.testing.assert_allclose([row[name] for row in rows], expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [PIXELS[:, :48], PIXELS.astype(int) + 256], ids=["shape", "range"])
def test_a_server_refuses_what_is_no_raw_patch(server, wrong):
    answer = httpx.post(f"{server}/invocations", json={"inputs": wrong.tolist()}, timeout=60)

    assert answer.status_code == 400


def test_a_server_takes_scaled_patches_for_black_ones(server, bundle):
    """MLflow cuts fractions off before bcd sees them, which docs/how-to/serve.md warns of."""
    answer = httpx.post(f"{server}/invocations", json={"inputs": (PIXELS / 256).tolist()}, timeout=60)

    black = bundle.score(np.zeros_like(PIXELS))
    np.testing.assert_allclose([row["logit"] for row in answer.json()["predictions"]], black["logit"], atol=1e-6)
