"""The command as a user meets it: a clear sentence, exit code 2, no traceback, nothing half-made."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hospital import run_bcd

from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store


def test_help_names_every_command() -> None:
    shown = run_bcd("--help")
    assert shown.returncode == 0
    for command in ("demo", "doctor", "ingest", "retrain", "score", "status", "up", "down"):
        assert command in shown.stdout


def test_version_is_printed() -> None:
    assert run_bcd("--version").stdout.startswith("bcd 0.")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("beach.jpg", b"\xff\xd8\xff\xe0 not even a picture")
    return path


@pytest.fixture
def empty_zip(tmp_path: Path) -> Path:
    path = tmp_path / "empty.zip"
    zipfile.ZipFile(path, "w").close()
    return path


@pytest.fixture
def not_a_zip(tmp_path: Path) -> Path:
    path = tmp_path / "delivery.zip"
    path.write_bytes(b"hello")
    return path


@pytest.fixture
def uses_server(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands ask the running Prefect, instead of starting one each."""
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())


@pytest.mark.usefixtures("uses_server")
@pytest.mark.parametrize("kind", ["missing", "empty_zip", "not_a_zip", "photos"])
def test_a_bad_delivery_is_told_in_a_sentence(kind: str, settings: Settings, request: pytest.FixtureRequest) -> None:
    path = Path("missing.zip") if kind == "missing" else request.getfixturevalue(kind)
    declare_hospital(open_store(settings), "east", "pseudonyms", SignOff("a test", "test"))
    told = run_bcd("ingest", str(path), "--hospital", "east")
    assert told.returncode == 2
    assert path.name in told.stderr
    assert "Traceback" not in told.stderr + told.stdout
    assert not list(settings.batches.glob("*"))


def test_a_delivery_without_a_hospital_is_told_how_to_name_it(photos: Path) -> None:
    told = run_bcd("ingest", str(photos))
    assert told.returncode == 2
    assert "--hospital" in told.stderr


def test_a_demo_on_a_folder_that_is_not_there_ends_at_once() -> None:
    told = run_bcd("demo", "--data", "nowhere")
    assert told.returncode == 2
    assert "nowhere" in told.stderr


@pytest.mark.usefixtures("uses_server")
def test_scoring_without_a_patient_of_that_name_says_so(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    told = run_bcd("score", "12345")
    assert told.returncode == 2
    assert "12345" in told.stderr
    assert "Traceback" not in told.stderr + told.stdout


def test_a_fault_in_bcd_toml_is_named(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text("[trainning]\nepochs = 1\n")
    told = run_bcd("status")
    assert told.returncode == 2
    assert "trainning" in told.stderr


def test_an_interrupted_command_says_how_to_go_on(settings: Settings) -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import bcd.cli.main as command\n"
        "command.app.registered_commands.clear()\n"
        "@command.app.command()\n"
        "def wait():\n    print('waiting', flush=True); signal.pause()\n"
        "command.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    assert told.strip()
    assert "Traceback" not in told
