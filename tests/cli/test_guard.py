"""The password of the pages: one file, one line, read by its owner alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from bcd.cli import daemons
from bcd.cli.reports import make_reports
from bcd.errors import BcdError
from bcd.runtime import read_password, runtime_environment
from bcd.settings import Settings

PASSWORD = "lee:correct horse: battery"


@pytest.fixture
def password_file(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("BCD_PASSWORD_FILE", str(file))
    return file


@pytest.fixture
def guarded(settings: Settings, password_file: Path) -> Settings:
    return settings.model_copy(update={"password_file": str(password_file)})


@pytest.mark.parametrize(
    ("user", "word", "code"),
    [("", "", 401), ("lee", "wrong", 401), ("Lee", "correct horse: battery", 401), (*PASSWORD.split(":", 1), 200)],
)
@pytest.mark.usefixtures("password_file")
def test_a_page_asks_for_the_password_and_its_health_does_not(user: str, word: str, code: int) -> None:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(make_reports())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090") as client:
            auth = httpx.BasicAuth(user, word) if user else None
            return [await client.get("/", auth=auth), await client.get("/health")]

    page, health = asyncio.run(ask())
    assert (page.status_code, health.status_code) == (code, 200)
    assert page.headers.get("WWW-Authenticate", "").startswith("Basic") == (code == 401)


def test_clients_and_servers_know_it_and_another_s_mlflow_does_not(guarded: Settings) -> None:
    found = runtime_environment(guarded)
    assert found["PREFECT_API_AUTH_STRING"] == found["PREFECT_SERVER_API_AUTH_STRING"] == PASSWORD
    assert (found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"]) == tuple(PASSWORD.split(":", 1))
    theirs = runtime_environment(guarded.model_copy(update={"mlflow_url": "https://mlflow.example"}))
    assert "MLFLOW_TRACKING_PASSWORD" not in theirs
    assert PASSWORD not in runtime_environment(guarded.model_copy(update={"password_file": ""})).values()


def test_optuna_s_page_which_knows_no_password_is_off(guarded: Settings, settings: Settings) -> None:
    assert daemons.list_needed_daemons(settings) - daemons.list_needed_daemons(guarded) == {"studies"}


@pytest.mark.parametrize(
    ("text", "mode", "match"),
    [
        (PASSWORD, 0o644, "chmod 600"),
        ("only-a-word", 0o600, "USER:PASSWORD"),
        ("lee:", 0o600, "USER:PASSWORD"),
        ("lee:a\nkim:b", 0o600, "USER:PASSWORD"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_password_file_that_is_none_is_refused(
    guarded: Settings, password_file: Path, text: str | None, mode: int, match: str
) -> None:
    if text is None:
        password_file.unlink()
    else:
        password_file.write_text(text)
        password_file.chmod(mode)
    with pytest.raises(BcdError, match=match) as refused:
        read_password(guarded)
    assert str(password_file) in str(refused.value)


def test_no_secret_stands_in_a_command(guarded: Settings) -> None:
    """A process list shows every command to every user of the machine."""
    commands: list[list[str]] = []
    for given in (guarded, guarded.model_copy(update={"password_file": ""})):
        settings = given.model_copy(
            update={
                "study_url": "postgresql://bcd:secret-word@127.0.0.1/studies",
                "notify_url": "http://secret-word@x",
                **{f"{name}_port": 59000 + at for at, name in enumerate(("prefect", "mlflow", "studies", "reports"))},
            }
        )
        commands += [daemons.prepare_daemon(settings, name)[0] for name in daemons.list_needed_daemons(settings)]
    assert len(commands) == 11
    shown = " ".join(word for command in commands for word in command)
    assert "secret-word" not in shown
    assert "battery" not in shown
    assert os.environ.get("BCD_STUDY_URL") is None
