"""Kubernetes as the type of a work pool: what `mlflow/` holds for it makes Jobs that Kubernetes accepts.

No cluster is needed: the worker's command and variables are read from kubernetes.yaml and run as a process against an
endpoint that takes Jobs, and so is the command of the Job that it makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import yaml
from kubernetes_validate import ValidationError, latest_version, validate

import flows
from bcd.cli.deployments import compare_deployments, deploy, require_process_pool
from bcd.cli.flow_runs import open_prefect_client
from bcd.errors import BcdError
from bcd.search.storage import make_storage
from bcd.settings import Settings

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[2] / "mlflow"
TEMPLATE = FOLDER / "kubernetes-pool.json"
POOL = "cluster"
SECRETS = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_AUTH_STRING")
PASSWORD = "open-sesame"


class Cluster:
    """As much of a cluster's interface as a worker calls, and the Jobs that it was given."""

    def __init__(self, folder: Path) -> None:
        self.jobs: list[dict[str, Any]] = []
        jobs = self.jobs

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/apis/batch/v1/namespaces/bcd/jobs"
                jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer = json.dumps({"metadata": {"name": "bcd-1", "namespace": "bcd"}}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.config = folder / "kubeconfig"
        named = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}
        context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
        users = [{"name": "test", "user": {}}]
        self.config.write_text(
            yaml.safe_dump({"clusters": [named], "contexts": [context], "users": users, "current-context": "test"})
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.server.shutdown()


def read_worker() -> tuple[list[str], dict[str, str]]:
    """Returns the command of the worker of kubernetes.yaml, and its variables with the password in the secret."""
    [found] = [
        each for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()) if "replicas" in str(each)
    ]
    [container] = found["spec"]["template"]["spec"]["containers"]
    return container["args"], read_variables(container)


def read_variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", PASSWORD) for each in container["env"]}


def run(command: list[str], more: dict[str, str], folder: Path | None = None) -> None:
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("BCD_", "PREFECT_", "MLFLOW_"))
    }
    subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]], env=known | more, check=True, cwd=folder
    )


def test_kubernetes_accepts_the_worker() -> None:
    kinds = {"ServiceAccount", "Role", "RoleBinding", "Deployment"}
    for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()):
        kinds.remove(each["kind"])
        assert validate(each, latest_version(), strict=True)
    assert not kinds


def test_a_run_of_the_pool_becomes_a_job_that_kubernetes_accepts_and_that_does_the_run(
    dashboard: Any, cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect_kubernetes.worker import KubernetesWorker

    settings.home.mkdir()
    server, api = dashboard.url, f"{dashboard.url}/api"
    shared = {"PREFECT_API_URL": api, "BCD_PREFECT_URL": server, "BCD_STUDY_URL": make_storage(settings)}
    create = ["prefect", "work-pool", "create", POOL, "--type", "kubernetes", "--base-job-template", str(TEMPLATE)]
    run(create, {"PREFECT_API_URL": api})
    settings = settings.model_copy(update={"search": {"pool": POOL}})
    deploy(settings, server, flows.DEPLOYMENTS)
    assert list_faults_of_pool(settings, server) == []
    with open_prefect_client(server) as client:
        assert client.read_work_pool(POOL).base_job_template == json.loads(TEMPLATE.read_text())
        with pytest.raises(BcdError):
            require_process_pool(client, POOL)
        deployment = client.read_deployment_by_name("trials/trials")
        given: dict[str, Any] = {"study": "none", "trials": 1}
        asked = client.create_flow_run_from_deployment(deployment.id, parameters=given, job_variables={"gpus": 2})

        command, variables = read_worker()
        variables["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED"] = "false"  # nothing happens there to be seen
        run([*command, "--run-once"], shared | variables | {"KUBECONFIG": str(cluster.config)})
        [job] = cluster.jobs
        check_job(job, asked.id)

        for name in ("pod", "work"):  # a volume, and where an image begins: Prefect copies what lies there
            (tmp_path / name).mkdir()
        [container] = job["spec"]["template"]["spec"]["containers"]
        run(
            container["args"],
            shared | read_variables(container) | {"BCD_HOME": str(tmp_path / "pod")},
            tmp_path / "work",
        )
        ended = client.read_flow_run(asked.id)
    assert ended.state_type == "FAILED"
    assert re.search(r"\bnone\b", str(ended.state.message))
    with open_prefect_client(server) as client:  # Prefect's own template
        own = WorkPoolUpdate(base_job_template=KubernetesWorker.get_default_base_job_template())
        client.update_work_pool(POOL, own)
    assert [re.findall("command|env|image", line) for line in list_faults_of_pool(settings, server)] == [
        ["command"],
        ["env"],
        ["image"],
    ]
    dashboard.put_back()


def list_faults_of_pool(settings: Settings, server: str) -> list[str]:
    compared = compare_deployments(settings, server, flows.DEPLOYMENTS)
    return [line for line in compared if line.startswith(f"work pool {POOL}")]


def check_job(job: dict[str, Any], run: UUID) -> None:
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == "bcd-gpu"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": 2},
    }
    by_secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert by_secret == {name: {"name": "bcd", "key": name} for name in SECRETS}
    assert PASSWORD not in json.dumps(job)
    assert {"name": "PREFECT__FLOW_RUN_ID", "value": str(run)} in container["env"]
    version = latest_version()
    assert validate(job, version)
    with pytest.raises(ValidationError):
        validate(job, version, strict=True)
    del (
        pod["parallelism"],
        pod["completions"],
    )  # Prefect's worker wants them here, where Kubernetes knows no such field
    assert validate(job, version, strict=True)
