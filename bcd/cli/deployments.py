"""Deploys the flows of deployment.yaml and keeps what a person set on the dashboard.

Each setting is compared three ways: the file now, the file when it was last deployed, the server. What changed in the
file changes on the server; what a person set stays. Either is told in a line. What the file said last is remembered
beside Prefect's own database, whose settings it explains.

Prefect's own `prefect deploy` would set everything back, and delete and make again the triggers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bcd.cli.flow_runs import open_prefect_client
from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.retention.backup.options import BackupOptions
from bcd.search.options import POOL, SearchOptions
from bcd.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events import DeploymentEventTrigger
    from prefect.events.schemas.automations import Automation, AutomationCore

Tree = dict[str, Any]
"""Settings as JSON; schedules and triggers are objects in it, by their name."""

_NONE = str(UUID(int=0))
_KEPT = {"tags", "actions_on_trigger", "actions_on_resolve"}  # of a trigger; the file never sets them
_RULES = ("cron", "interval", "rrule")


def deploy(settings: Settings, prefect: str, file: Path, *, reset: bool = False) -> list[str]:
    """Brings the server to what the file and the person at the dashboard want, and returns what is worth telling.

    Args:
        settings: The home, whose `prefect/deployed.json` says what the file said last.
        prefect: Address of the Prefect server.
        file: deployment.yaml.
        reset: Take the file's word for everything.
    """
    import yaml

    memory = settings.prefect / "deployed.json"
    remembered: dict[str, Tree] = json.loads(memory.read_text()) if memory.exists() else {}
    said: dict[str, Tree] = {}
    with open_prefect_client(prefect) as client:
        declared = yaml.safe_load(file.read_text())["deployments"]
        deployments = {each["name"]: _Deployment(client, each, settings) for each in declared}
        told = [line for pool in _list_pools(deployments) for line in keep_pool(client, pool, reset=reset)]
        for name, deployment in deployments.items():
            said[name] = deployment.wanted
            told += [f"{name}: {line}" for line in deployment.apply(remembered.get(name), reset=reset)]
    with whole_file(memory) as partial:
        partial.write_text(json.dumps(said, indent=2))
    return told


def compare_deployments(settings: Settings, prefect: str, file: Path) -> list[str]:
    """Returns how the pool and the deployments on the server differ from the files, a sentence each; changes nothing.

    Raises:
        httpx.HTTPError: The server does not answer.
    """
    import yaml

    with open_prefect_client(prefect) as client:
        declared = yaml.safe_load(file.read_text())["deployments"]
        deployments = {each["name"]: _Deployment(client, each, settings) for each in declared}
        told = [line for pool in _list_pools(deployments) for line in _compare_pool(client, pool)]
        if f"work pool {POOL}: missing." in told:
            return told
        for name, deployment in deployments.items():
            told += [f"{name}: {line}" for line in deployment.compare()]
        others = {each.name for each in client.read_deployments() if "bcd" in each.tags} - deployments.keys()
        told += [f"{name}: deployed, and not in the project." for name in sorted(others)]
    return told


def _list_pools(deployments: Mapping[str, _Deployment]) -> list[str]:
    """Lists the work pools that deployments take their machines from, that of `bcd up` first."""
    return list(dict.fromkeys([POOL, *(each.wanted["work pool"] for each in deployments.values())]))


def find_unserved_pool(settings: Settings, prefect: str) -> str | None:
    """Returns the work pool of trials where no worker of any machine takes its runs.

    None: some do, or there is no such pool.

    Raises:
        httpx.HTTPError: The server does not answer.
    """
    from prefect.exceptions import ObjectNotFound

    pool = settings.options("search", SearchOptions).pool
    if not pool:
        return None
    with open_prefect_client(prefect) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            return None
        workers = client.request("POST", f"/work_pools/{pool}/workers/filter", json={}).json()
    return None if any(worker["status"] == "ONLINE" for worker in workers) else pool


def require_process_pool(client: SyncPrefectClient, name: str) -> None:
    """Makes sure that the runs of a pool are processes of the machines that take them.

    Raises:
        BcdError: They are something else, such as the pods of a cluster.
    """
    kind = client.read_work_pool(name).type
    if kind != _PROCESS:
        raise BcdError(
            f"The work pool {name} is of the type {kind}: its runs are no processes of a machine.",
            f"Name another pool, or start a worker of that type: `prefect worker start --pool {name}`.",
        )


def _compare_pool(client: SyncPrefectClient, name: str) -> list[str]:
    from prefect.exceptions import ObjectNotFound

    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        return [f"work pool {name}: missing."]
    told = []
    if pool.type != _PROCESS:
        variables = pool.base_job_template.get("variables", {}).get("properties", {})
        named = [each for each in (*_SUBMITTED, "image") if each in variables]
        told += [f"work pool {name}: by its base job template a run may name {each} of its own." for each in named]
    elif pool.base_job_template != _read_pool_template():
        told.append(f"work pool {name}: its base job template is another; a run may name a command of its own.")
    if pool.is_paused:
        told.append(f"work pool {name}: paused; no run starts.")
    return told


@dataclass
class Merged:
    """What the settings shall be, and what is to be told about them."""

    settings: Tree = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


def merge(file: Tree, last: Tree | None, server: Tree, *, reset: bool = False) -> Merged:
    """Compares settings three ways, and objects among them setting by setting.

    Args:
        file: What the file says now.
        last: What it said when it was last deployed; None: nobody remembers, and what the server says stays.
        server: What the server says.
        reset: Take the file's word for everything.
    """
    merged = Merged()
    for name in sorted(file.keys() | server.keys()):
        ours, theirs = file.get(name), server.get(name)
        before = (None if theirs is None else ours) if last is None else last.get(name)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            inner = merge(ours, before if isinstance(before, dict) else {}, theirs, reset=reset)
            merged.settings[name] = inner.settings
            merged.told += [f"{name}, {line}" for line in inner.told]
            continue
        value = ours if reset or ours != before else theirs
        if value is not None:
            merged.settings[name] = value
        if value != theirs:
            merged.told.append(
                f"{name}: {_show_setting_value(theirs)} becomes {_show_setting_value(value)}, as the project says."
            )
        elif theirs != ours:
            merged.told.append(
                f"{name}: {_show_setting_value(theirs)} stays, as set on the dashboard;"
                f" the project says {_show_setting_value(ours)}."
            )
    return merged


class _Deployment:
    """One deployment of the file, and the same on the server."""

    def __init__(self, client: SyncPrefectClient, declared: Mapping[str, Any], settings: Settings) -> None:
        module, _, name = declared["entrypoint"].rpartition(".")
        self._client = client
        self._declared = declared
        self._flow = getattr(import_module(module), name)
        self.wanted = _read_file(declared, self._flow.description, settings)
        self._triggers = set(self.wanted["triggers"])  # what the file names, or named; any other is a person's own

    def compare(self) -> list[str]:
        """Tells how the server's differs from the file's."""
        found = self._find()
        if found is None:
            return ["missing."]
        told = merge(self.wanted, self.wanted, _read_server(found, self._find_triggers(str(found.id)))).told
        return told + (["its flow changed since it was deployed."] if self._is_outdated(found) else [])

    def apply(self, last: Tree | None, *, reset: bool) -> list[str]:
        """Makes the deployment, or changes what is to change."""
        found = self._find()
        if found is None:
            self._write(self.wanted, None)
            return ["deployed."]
        self._triggers |= (last or {}).get("triggers", {}).keys()
        server = _read_server(found, self._find_triggers(str(found.id)))
        merged = merge(self.wanted, last, server, reset=reset)
        outdated = self._is_outdated(found)
        if outdated or merged.settings != server:
            self._write(merged.settings, found)
        return merged.told + (["deployed again: its flow changed."] if outdated else [])

    def _find(self) -> DeploymentResponse | None:
        from prefect.exceptions import ObjectNotFound

        try:
            return self._client.read_deployment_by_name(f"{self._flow.name}/{self._declared['name']}")
        except ObjectNotFound:
            return None

    def _is_outdated(self, found: DeploymentResponse) -> bool:
        return any((getattr(found, name) or []) != value for name, value in self._code().items())

    def _code(self) -> Tree:
        """What follows from the code; nobody sets it on the dashboard."""
        from prefect.utilities.callables import parameter_schema

        return {
            "entrypoint": self._declared["entrypoint"],  # a module: each machine runs the bcd that it has installed
            "pull_steps": [],
            "parameter_openapi_schema": parameter_schema(self._flow).model_dump(mode="json", exclude_unset=True),
        }

    def _write(self, settings: Tree, found: DeploymentResponse | None) -> None:
        options = found.concurrency_options.model_dump(mode="json") if found and found.concurrency_options else {}
        strategy = settings.get("collision strategy")
        payload = {
            "name": self._declared["name"],
            "flow_id": str(self._client.create_flow_from_name(self._flow.name)),
            **self._code(),
            "paused": settings.get("paused", False),
            "description": settings.get("description"),
            "tags": settings.get("tags", []),
            "parameters": settings.get("parameters", {}),
            "job_variables": settings.get("job variables", {}),
            "enforce_parameter_schema": settings.get("enforce parameter schema", True),
            "work_pool_name": settings["work pool"],
            "work_queue_name": settings.get("work queue"),
            "concurrency_limit": settings.get("concurrency limit"),
            "concurrency_options": options | {"collision_strategy": strategy} if strategy else None,
            # All of them, a person's own too: the server replaces the schedules as a whole.
            "schedules": _write_schedules(settings.get("schedules", {}), found.schedules if found else []),
        }
        made = self._client.request("POST", "/deployments/", json=payload).json()["id"]
        self._write_triggers(settings.get("triggers", {}), made)

    def _find_triggers(self, deployment: str) -> list[Automation]:
        """The server does not tell who owns an automation: bcd's are known by name and by what they start."""
        named = [each for each in self._client.read_automations() if each.name in self._triggers]
        return [each for each in named if deployment in _list_started_deployments(each)]

    def _write_triggers(self, triggers: Tree, deployment: str) -> None:
        """Changes automations in place: one more of a name would start one more run at each event."""
        self._drop_orphans()
        known = {each.name: each for each in self._find_triggers(deployment)}
        for name in known.keys() - triggers.keys():
            self._client.request("DELETE", "/automations/{id}", path_params={"id": known[name].id})
        for name, trigger in triggers.items():
            actions = [_give_deployment(action, deployment) for action in trigger["actions"]]
            payload = {"name": name, **trigger, "actions": actions}
            if name not in known:
                payload["owner_resource"] = f"prefect.deployment.{deployment}"
                self._client.request("POST", "/automations/", json=payload)
            elif read_automation(known[name], deployment) != trigger:  # an update may not name the owner
                kept = known[name].model_dump(mode="json", include=_KEPT)
                ids = {"id": known[name].id}
                self._client.request("PUT", "/automations/{id}", path_params=ids, json=kept | payload)

    def _drop_orphans(self) -> None:
        """Deletes the triggers of a deployment that somebody deleted: the server leaves them."""
        deployments = {str(each.id) for each in self._client.read_deployments()}
        for each in self._client.read_automations():
            if (
                each.name in self._triggers
                and _list_started_deployments(each)
                and not _list_started_deployments(each) & deployments
            ):
                self._client.request("DELETE", "/automations/{id}", path_params={"id": each.id})


_PROCESS = "process"

_SUBMITTED = ("command", "env", "working_dir")
"""What a submitted run may name in Prefect's own template of a process pool, and may not here."""


def _read_pool_template() -> Tree:
    """Returns the base job template of the pool: Prefect's, without the variables by which a run names a command."""
    from prefect.workers.process import ProcessWorker

    template: Tree = ProcessWorker.get_default_base_job_template()
    for name in _SUBMITTED:
        del template["job_configuration"][name]  # an `env` that is a placeholder, or {}, would be merged all the same
        del template["variables"]["properties"][name]
    return template


def keep_pool(client: SyncPrefectClient, name: str, *, reset: bool = False) -> list[str]:
    """Makes a work pool, or sets its template back; one that a person paused or limited stays so.

    A pool of another type than processes, such as Kubernetes, keeps the template with which a person made it.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template, told = _read_pool_template(), []
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type=_PROCESS, base_job_template=template))
        return []
    if pool.type == _PROCESS and pool.base_job_template != template:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        told.append(f"work pool {name}, base job template: set back, so that no run names a command of its own.")
    wanted: Tree = {"paused": False}
    server = {"paused": pool.is_paused} | _drop_absent_settings({"concurrency limit": pool.concurrency_limit})
    merged = merge(wanted, wanted, server, reset=reset)
    if merged.settings != server:
        limit = merged.settings.get("concurrency limit")
        update = WorkPoolUpdate(is_paused=merged.settings["paused"], concurrency_limit=limit)
        client.update_work_pool(name, update)
    return told + [f"work pool {name}, {line}" for line in merged.told]


def _read_file(declared: Mapping[str, Any], description: str | None, settings: Settings) -> Tree:
    from prefect.events import DeploymentEventTrigger

    limit = declared.get("concurrency_limit", {})
    pool = declared["work_pool"]
    is_active = declared["name"] != "backup" or settings.options("backup", BackupOptions).is_on
    return _drop_absent_settings(
        {
            "paused": declared.get("paused", False),
            "description": declared.get("description") or description,
            "tags": declared.get("tags", []),
            "parameters": declared.get("parameters", {}),
            "job variables": pool.get("job_variables", {}),
            "work pool": _choose_pool(declared, settings),
            "work queue": pool.get("work_queue_name", "default"),
            "enforce parameter schema": declared.get("enforce_parameter_schema", True),
            "concurrency limit": settings.scorings_at_once if declared["name"] == "score" else limit.get("limit"),
            "collision strategy": limit.get("collision_strategy"),
            "schedules": {
                each["slug"]: _read_schedule(
                    {"active": is_active, **({"timezone": settings.timezone} if "cron" in each else {}), **each}
                )
                for each in declared.get("schedules", [])
            },
            "triggers": {
                each["name"]: read_automation(_as_automation(DeploymentEventTrigger.model_validate(each)))
                for each in declared.get("triggers", [])
            },
        }
    )


def _choose_pool(declared: Mapping[str, Any], settings: Settings) -> str:
    """Returns where a deployment's runs wait for a worker; trials and members wait where bcd.toml says."""
    asked = settings.options("search", SearchOptions).pool if declared["name"] in {"trials", "member"} else ""
    return asked or str(declared["work_pool"]["name"])


def _read_server(found: DeploymentResponse, triggers: Sequence[Automation]) -> Tree:
    limit, options = found.global_concurrency_limit, found.concurrency_options
    schedules = {}
    for each in found.schedules:
        schedules[each.slug or str(each.id)] = _read_schedule(
            {"active": each.active, **each.schedule.model_dump(mode="json")}
        )
    return _drop_absent_settings(
        {
            "paused": found.paused,
            "description": found.description,
            "tags": found.tags,
            "parameters": found.parameters,
            "job variables": found.job_variables,
            "work pool": found.work_pool_name,
            "work queue": found.work_queue_name,
            "enforce parameter schema": found.enforce_parameter_schema,
            "concurrency limit": limit.limit if limit else None,
            "collision strategy": options.collision_strategy.value if options else None,
            "schedules": schedules,
            "triggers": {each.name: read_automation(each, str(found.id)) for each in triggers},
        }
    )


def _read_schedule(schedule: Mapping[str, Any]) -> Tree:
    rule = next(name for name in _RULES if schedule.get(name))
    value = f"{float(schedule[rule]):g}" if rule == "interval" else schedule[rule]
    zone = schedule.get("timezone") or "UTC"
    return {"rule": f"{rule} {value}", "timezone": zone, "active": schedule.get("active", True)}


def _write_schedules(schedules: Tree, present: Sequence[DeploymentSchedule]) -> list[Tree]:
    """Returns schedules as the server takes them; of one whose rule stays, the rest stays too."""
    known = {each.slug or str(each.id): each for each in present}
    written = []
    for name, wanted in schedules.items():
        rule, _, value = wanted["rule"].partition(" ")
        schedule = {rule: float(value) if rule == "interval" else value, "timezone": wanted["timezone"]}
        each: Tree = {"slug": name, "active": wanted["active"], "schedule": schedule}
        if name in known:
            before = known[name].model_dump(
                mode="json", include={"schedule", "slug", "parameters", "max_scheduled_runs"}
            )
            same = _read_schedule(before["schedule"])["rule"] == wanted["rule"]
            schedule = before["schedule"] | schedule if same else schedule
            each = before | {"active": wanted["active"], "schedule": schedule}
        written.append(each)
    return written


def _as_automation(trigger: DeploymentEventTrigger) -> AutomationCore:
    trigger.set_deployment_id(UUID(_NONE))
    return trigger.as_automation()


def read_automation(automation: AutomationCore, deployment: str = _NONE) -> Tree:
    """Returns an automation without what the server gives it: its ids, and that of the deployment that it starts."""
    settings: Tree = automation.model_dump(
        mode="json", include={"enabled", "description", "trigger", "actions"}, exclude={"trigger": {"id"}}
    )
    for name, value in settings["trigger"].items():
        if isinstance(value, list) and all(isinstance(each, str) for each in value):  # sets, in any order
            settings["trigger"][name] = sorted(value)
    for action in settings["actions"]:
        if action.get("deployment_id") == deployment:
            del action["deployment_id"]
    return settings


def _give_deployment(action: Tree, deployment: str) -> Tree:
    """Undoes what `_read_trigger` left out; a person may have added actions of other kinds."""
    starts = action["type"] == "run-deployment"
    return {"deployment_id": deployment, **action} if starts else action


def _list_started_deployments(automation: Automation) -> set[str]:
    found = (getattr(action, "deployment_id", None) for action in automation.actions)
    return {str(each) for each in found if each}


def _drop_absent_settings(settings: Tree) -> Tree:
    return {name: value for name, value in settings.items() if value is not None}


def _show_setting_value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
