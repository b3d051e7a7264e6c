"""A Prefect server as its dashboard speaks to it, and the command as a person types it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from bcd.cli.main import main
from bcd.store.store import Store


class PrefectServer:
    """The interface of a running Prefect server; a busy one is asked again."""

    def __init__(self, url: str) -> None:
        from prefect.client.orchestration import SyncPrefectClient

        self.url = url
        self._client = SyncPrefectClient(api=f"{url}/api")

    def ask(self, method: str, path: str, items: list[Any] | None = None, **body: Any) -> Any:
        answer = self._client.request(method, path, json=body if items is None else items)
        return answer.json() if answer.content else None

    def put_back(self) -> None:
        """Removes what a test of deployments and runs left."""
        for kind in ("flow_runs", "deployments", "automations", "work_pools"):
            for each in self.ask("POST", f"/{kind}/filter"):
                self.ask("DELETE", f"/{kind}/{each['name'] if kind == 'work_pools' else each['id']}")
        for each in self.ask("POST", "/v2/concurrency_limits/filter"):
            self.ask("DELETE", f"/v2/concurrency_limits/{each['id']}")


@pytest.fixture
def dashboard(prefect_server: None) -> PrefectServer:
    """A Prefect server without deployments and runs."""
    from prefect.settings import PREFECT_API_URL

    server = PrefectServer(PREFECT_API_URL.value().removesuffix("/api"))
    server.put_back()
    return server


@pytest.fixture
def store(undecided_store: Store) -> Store:
    return undecided_store


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bcd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; returns its exit code, what it prints, and what it complains of."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bcd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def bcd_in_a_line(bcd: Run) -> Run:
    """Runs the command, and takes its lines for one."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code, told, complained = bcd(*arguments)
        return code, " ".join(told.split()), " ".join(complained.split())

    return run
