"""What every test stands on: a BCD_HOME of its own, no telemetry, and no server of anybody else's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcd.runtime import enter
from bcd.settings import Settings, load_settings

for _variable in [name for name in os.environ if name.startswith(("BCD_", "PREFECT_", "MLFLOW_"))]:
    del os.environ[_variable]
# Before any test module imports Prefect or MLflow: importing `flows` enters the BCD_HOME that is named here.
_home = tempfile.TemporaryDirectory(prefix="bcd-tests-", ignore_cleanup_errors=True)
os.environ["BCD_HOME"] = _home.name
enter(load_settings())


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A fresh BCD_HOME, which code that reads the settings itself finds too."""
    home = tmp_path / "home"
    monkeypatch.setenv("BCD_HOME", str(home))
    return load_settings()


@pytest.fixture(scope="session")
def deliveries() -> Path:
    """The development deliveries of the public IDC set."""
    folder = Path(__file__).parents[2] / "shared/data/batches"
    if not folder.exists():
        pytest.skip("shared/data/batches is not here: this test needs the development deliveries")
    return folder


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server on a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    # The default of 30 s is too short for a cold start on two cores.
    with prefect_test_harness(server_startup_timeout=180):
        yield
