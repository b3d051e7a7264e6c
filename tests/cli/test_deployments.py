"""What `bcd up` deploys, on a real Prefect server: a person's settings stay, and what the project changed changes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bcd.cli.deployments import deploy, find_unserved_pool, merge
from bcd.settings import Settings

ROOT = Path(__file__).parents[2]
TRIGGER = "retrain when a batch is admitted"


def test_each_setting_is_compared_three_ways() -> None:
    #                  file, when deployed, server: what shall be
    table = {
        "nobody changed it": ("a", "a", "a", "a"),
        "the project changed it": ("b", "a", "a", "b"),
        "a person changed it": ("a", "a", "c", "c"),
        "both changed it": ("b", "a", "c", "b"),
        "both came to the same": ("b", "a", "b", "b"),
        "a person removed it": ("a", "a", None, None),
        "a person added it": (None, None, "c", "c"),
        "the project removed it": (None, "a", "a", None),
        "the project added it": ("a", None, None, "a"),
    }
    file, last, server, wanted = (
        {name: row[column] for name, row in table.items() if row[column] is not None} for column in range(4)
    )
    assert merge(file, last, server).settings == wanted
    assert merge(file, last, server, reset=True).settings == file
    assert len(merge(file, last, server).told) == 7  # all but those where nothing differs and nothing changes
    nested = merge({"schedule": file}, {"schedule": last}, {"schedule": server})
    assert nested.settings == {"schedule": wanted}
    assert all(line.startswith("schedule, ") for line in nested.told)


def test_where_nobody_remembers_the_server_keeps_what_it_has_and_gets_what_it_lacks() -> None:
    assert merge({"cron": "a", "zone": "b"}, None, {"cron": "c"}).settings == {"cron": "c", "zone": "b"}


class _Server:
    """The Prefect server as the dashboard speaks to it."""

    def __init__(self, settings: Settings, project: Path, dashboard: Any) -> None:
        self.settings = settings
        self.project = project
        self.url = dashboard.url
        self.ask = dashboard.ask

    def deploy(self, *, reset: bool = False) -> list[str]:
        return deploy(self.settings, self.url, self.project / "deployment.yaml", reset=reset)

    def deployment(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"/deployments/name/{name}/{name}")

    def schedule(self, name: str) -> dict[str, Any]:
        [schedule] = self.deployment(name)["schedules"]
        return schedule

    def change_schedule(self, name: str, **changes: Any) -> None:
        deployment, schedule = self.deployment(name)["id"], self.schedule(name)["id"]
        self.ask("PATCH", f"/deployments/{deployment}/schedules/{schedule}", **changes)

    def triggers(self) -> list[dict[str, Any]]:
        return self.ask("POST", "/automations/filter")

    def edit_file(self, name: str, **changes: Any) -> None:
        file = self.project / "deployment.yaml"
        declared = yaml.safe_load(file.read_text())
        next(each for each in declared["deployments"] if each["name"] == name).update(changes)
        file.write_text(yaml.safe_dump(declared))


@pytest.fixture
def server(settings: Settings, tmp_path: Path, dashboard: Any) -> _Server:
    project = tmp_path / "project"
    project.mkdir()
    (project / "deployment.yaml").write_text((ROOT / "deployment.yaml").read_text())
    return _Server(settings, project, dashboard)


def test_the_first_time_everything_is_as_the_file_says_and_the_second_time_changes_nothing(server: _Server) -> None:
    names = ["ingest", "retrain", "score", "trials", "member", "monitor", "approve"]
    names += ["search", "train", "evaluate", "promote", "reconcile", "backup"]
    assert server.deploy() == [f"{name}: deployed." for name in names]
    made = {name: server.deployment(name) for name in names}
    assert made["ingest"]["schedules"][0]["schedule"]["cron"] == "30 0 * * *"
    assert made["retrain"]["schedules"][0]["schedule"]["cron"] == "0 1 * * *"
    assert made["ingest"]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert made["score"]["global_concurrency_limit"]["limit"] == 2
    assert made["approve"]["global_concurrency_limit"] is None
    assert not made["backup"]["schedules"][0]["active"]
    assert "patient" in made["score"]["parameter_openapi_schema"]["properties"]
    assert all(each["work_pool_name"] == "bcd" and each["enforce_parameter_schema"] for each in made.values())
    [trigger] = server.triggers()
    assert trigger["name"] == TRIGGER
    assert trigger["actions"][0]["deployment_id"] == made["retrain"]["id"]

    assert server.deploy() == []
    assert {name: server.deployment(name) for name in made} == made
    assert server.triggers() == [trigger]


def test_the_pool_takes_no_command_environment_or_folder_from_a_run(server: _Server) -> None:
    """Prefect's own template runs what a submitted run names; whoever may start a run could run anything."""
    from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

    server.deploy()
    own = ProcessWorker.get_default_base_job_template()
    server.ask("PATCH", "/work_pools/bcd", base_job_template=own)
    asked = {"command": "touch /tmp/taken", "env": {"PYTHONPATH": "/elsewhere"}, "working_dir": "/elsewhere"}

    def read() -> dict[str, Any]:
        template = server.ask("GET", "/work_pools/bcd")["base_job_template"]
        made = asyncio.run(ProcessJobConfiguration.from_template_and_values(template, asked))
        return {name: str(getattr(made, name)) for name in asked}

    assert read() == {name: str(value) for name, value in asked.items()}
    assert len(server.deploy()) == 1
    assert read() == {"command": "None", "env": "{}", "working_dir": "None"}
    assert server.deploy() == []


def test_backups_are_made_by_night_where_bcd_toml_names_a_folder(server: _Server, tmp_path: Path) -> None:
    server.deploy()
    server.settings = server.settings.model_copy(update={"backup": {"folder": str(tmp_path / "backups")}})
    assert [line.partition(":")[0] for line in server.deploy()] == ["backup"]
    assert server.schedule("backup")["active"]


def test_trials_wait_on_the_pool_that_bcd_toml_names_which_is_as_safe(server: _Server) -> None:
    server.deploy()
    server.settings = server.settings.model_copy(update={"search": {"pool": "gpu"}})
    told = server.deploy()
    assert [server.deployment(name)["work_pool_name"] for name in ("trials", "member", "score")] == [
        "gpu",
        "gpu",
        "bcd",
    ]
    assert [line.partition(":")[0] for line in told] == ["trials", "member"]
    gpu, bcd = (server.ask("GET", f"/work_pools/{name}") for name in ("gpu", "bcd"))
    assert gpu["base_job_template"] == bcd["base_job_template"]
    assert server.deploy() == []


def test_a_pool_of_trials_that_no_machine_serves_is_named(server: _Server) -> None:
    named = server.settings.model_copy(update={"search": {"pool": "gpu"}})
    server.deploy()
    assert find_unserved_pool(server.settings, server.url) is None
    server.settings = named
    server.deploy()
    assert find_unserved_pool(named, server.url) == "gpu"
    server.ask("POST", "/work_pools/gpu/workers/heartbeat", name="north")
    assert find_unserved_pool(named, server.url) is None


def test_schedules_run_in_the_hospital_s_time_zone(server: _Server) -> None:
    server.settings = server.settings.model_copy(update={"timezone": "Asia/Kolkata"})
    server.deploy()
    assert [server.schedule(name)["schedule"]["timezone"] for name in ("retrain", "score")] == ["Asia/Kolkata"] * 2


def test_what_a_person_set_stays_and_is_told_until_the_file_s_word_is_asked_for(server: _Server) -> None:
    server.deploy()
    server.change_schedule("score", schedule={"cron": "30 5 * * *", "timezone": "Europe/Berlin"})
    server.change_schedule("ingest", active=False)
    retrain = server.deployment("retrain")["id"]
    server.ask("PATCH", f"/deployments/{retrain}", paused=True, concurrency_limit=2)
    server.ask("PATCH", "/work_pools/bcd", is_paused=True, concurrency_limit=3)
    [trigger] = server.triggers()
    server.ask("PATCH", f"/automations/{trigger['id']}", enabled=False)

    def state() -> list[object]:
        pool = server.ask("GET", "/work_pools/bcd")
        schedule, retraining = server.schedule("score")["schedule"], server.deployment("retrain")
        [automation] = server.triggers()
        return [
            (schedule["cron"], schedule["timezone"]),
            server.schedule("ingest")["active"],
            (retraining["paused"], retraining["global_concurrency_limit"]["limit"]),
            (pool["is_paused"], pool["concurrency_limit"]),
            (automation["id"], automation["enabled"]),
        ]

    changed = state()
    assert changed[:4] == [("30 5 * * *", "Europe/Berlin"), False, (True, 2), (True, 3)]
    told = server.deploy()
    assert state() == changed
    assert len(told) == 8  # two each of a schedule, a deployment and the pool; one of `ingest`, one of the trigger
    assert all("dashboard" in line and "as the project says" not in line for line in told), told
    server.edit_file("score", description="Another text.")  # a change elsewhere undoes nothing either
    assert len(server.deploy()) == 9
    assert state() == changed

    assert len(server.deploy(reset=True)) == 8
    assert state() == [("0 3 * * *", "UTC"), True, (False, 1), (False, None), (trigger["id"], True)]
    assert server.deploy() == []


def test_what_changed_in_the_project_changes_and_is_told_whatever_a_person_set(server: _Server) -> None:
    server.deploy()
    server.change_schedule("score", schedule={"cron": "30 5 * * *", "timezone": "Europe/Berlin"})
    server.edit_file("score", schedules=[{"slug": "nightly", "cron": "0 4 * * *"}])
    told = server.deploy()
    assert re.match(r'score: .*nightly, rule: "cron 30 5 \* \* \*" .*"cron 0 4 \* \* \*"', told[0])
    assert len(told) == 2
    assert re.match(r'score: .*nightly, timezone: "Europe/Berlin" .*dashboard', told[1])
    schedule = server.schedule("score")["schedule"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 4 * * *", "Europe/Berlin")


def test_a_person_s_own_schedule_stays_and_one_that_was_deleted_stays_away(server: _Server) -> None:
    server.deploy()
    score = server.deployment("score")
    url = f"/deployments/{score['id']}/schedules"
    own = {"schedule": {"cron": "0 12 * * 1"}, "active": True, "parameters": {"hospital": "east"}}
    server.ask("POST", url, [own])
    server.ask("DELETE", f"{url}/{score['schedules'][0]['id']}")
    server.edit_file("score", description="Another text.")
    server.deploy()
    schedule = server.schedule("score")
    assert schedule["schedule"]["cron"] == "0 12 * * 1"
    assert schedule["parameters"] == {"hospital": "east"}
    server.deploy(reset=True)
    assert server.schedule("score")["schedule"]["cron"] == "0 3 * * *"


def test_a_trigger_is_changed_in_place_and_never_doubled(server: _Server) -> None:
    server.deploy()
    [trigger] = server.triggers()
    declared = yaml.safe_load((server.project / "deployment.yaml").read_text())["deployments"][1]["triggers"]
    server.edit_file("retrain", triggers=[declared[0] | {"threshold": 2, "within": 60}])
    server.deploy()
    server.deploy()
    [changed] = server.triggers()
    assert changed["id"] == trigger["id"]
    assert (changed["trigger"]["threshold"], changed["trigger"]["within"]) == (2, 60)
    server.edit_file("retrain", triggers=[])
    server.deploy()
    assert server.triggers() == []


def test_what_a_person_built_on_automations_stays(server: _Server) -> None:
    server.deploy()
    [trigger] = server.triggers()
    url = f"/automations/{trigger['id']}"
    added = {"type": "pause-deployment", "source": "selected", "deployment_id": server.deployment("score")["id"]}
    edited = {name: trigger[name] for name in ("name", "description", "enabled", "trigger")}
    server.ask("PUT", url, **edited, tags=["ours"], actions=[*trigger["actions"], added])
    part = {"type": "event", "posture": "Reactive", "threshold": 1, "within": 0, "expect": ["a"]}
    both = {"type": "compound", "require": "all", "within": 60, "triggers": [part, part | {"expect": ["b"]}]}
    own = server.ask("POST", "/automations/", name="own", trigger=both, actions=trigger["actions"])
    declared = yaml.safe_load((server.project / "deployment.yaml").read_text())["deployments"][1]["triggers"]
    server.edit_file("retrain", triggers=[declared[0] | {"threshold": 2}])
    server.deploy()
    changed = server.ask("GET", url)
    assert changed["trigger"]["threshold"] == 2
    assert changed["tags"] == ["ours"]
    assert [action["type"] for action in changed["actions"]] == ["run-deployment", "pause-deployment"]
    assert [action["deployment_id"] for action in changed["actions"]] == [
        server.deployment("retrain")["id"],
        server.deployment("score")["id"],
    ]
    server.deploy(reset=True)
    assert len(server.ask("GET", url)["actions"]) == 1
    assert server.ask("GET", f"/automations/{own['id']}")["actions"] == own["actions"]


def test_a_deployment_that_was_deleted_is_made_again_with_one_trigger(server: _Server) -> None:
    server.deploy()
    server.ask("DELETE", f"/deployments/{server.deployment('retrain')['id']}")
    assert server.deploy() == ["retrain: deployed."]
    started = [trigger["actions"][0]["deployment_id"] for trigger in server.triggers()]
    assert started.count(server.deployment("retrain")["id"]) == 1
    assert len(started) == 1
