"""The automations of deployment.yaml on the server: what it does by itself, and whom it tells of what.

They are compared three ways, as deployments are (`bcd.cli.deployments`). Notifications go to `notify_url` through
Prefect's own block for webhooks; without that setting there are none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.cli.deployments import Tree, merge, read_automation
from bcd.cli.flow_runs import open_prefect_client
from bcd.files import whole_file
from bcd.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation

_BLOCK = "bcd-notify"
_KEPT = {"tags", "actions_on_trigger", "actions_on_resolve"}  # the file never sets them


def keep_automations(settings: Settings, prefect: str, file: Path, *, reset: bool = False) -> list[str]:
    """Makes and changes automations as the file and the person at the dashboard want; returns what is worth telling.

    Args:
        settings: The home, whose `prefect/automations.json` says what the file said last, and `notify_url`.
        prefect: Address of the Prefect server.
        file: deployment.yaml.
        reset: Take the file's word for everything.
    """
    memory = settings.prefect / "automations.json"
    remembered: dict[str, Tree] = json.loads(memory.read_text()) if memory.exists() else {}
    told = []
    with open_prefect_client(prefect) as client:
        wanted = _read_file(file, _keep_block(f"{prefect}/api", settings.notify_url))
        known = {each.name: each for each in client.read_automations()}
        for name, automation in wanted.items():
            told += _keep_automation(client, name, automation, remembered.get(name), known.get(name), reset=reset)
        for name in remembered.keys() - wanted.keys() & known.keys():
            client.delete_automation(known[name].id)
            told.append(f"automation {name}: removed, as the project says.")
    with whole_file(memory) as partial:
        partial.write_text(json.dumps(wanted, indent=2))
    return told


def compare_automations(settings: Settings, prefect: str, file: Path) -> list[str]:
    """Returns how the server's automations differ from the file's, a sentence each; changes nothing."""
    with open_prefect_client(prefect) as client:
        block = _find_block(client) if settings.notify_url else None
        known = {each.name: each for each in client.read_automations()}
    if settings.notify_url and block is None:
        return ["No notification goes to notify_url yet."]
    told = []
    for name, wanted in _read_file(file, block).items():
        if name not in known:
            told.append(f"automation {name}: missing.")
            continue
        found = merge(wanted, wanted, read_automation(known[name])).told
        told += [f"automation {name}, {line}" for line in found]
    return told


def _keep_automation(
    client: SyncPrefectClient, name: str, wanted: Tree, last: Tree | None, found: Automation | None, *, reset: bool
) -> list[str]:
    if found is None:
        client.request("POST", "/automations/", json={"name": name, **wanted})
        return []
    server = read_automation(found)
    merged = merge(wanted, last, server, reset=reset)
    if merged.settings != server:
        kept = found.model_dump(mode="json", include=_KEPT)
        payload = kept | {"name": name, **merged.settings}
        client.request("PUT", "/automations/{id}", path_params={"id": found.id}, json=payload)
    return [f"automation {name}, {line}" for line in merged.told]


def _read_file(file: Path, block: str | None) -> dict[str, Tree]:
    """Returns the file's automations by name; without a block to notify through, those that act otherwise."""
    import yaml
    from prefect.events.schemas.automations import AutomationCore

    found = {}
    for declared in yaml.safe_load(file.read_text()).get("automations", []):
        actions = [_give_block(action, block) for action in declared["actions"]]
        if all(actions):
            made = AutomationCore.model_validate({**declared, "actions": actions})
            found[declared["name"]] = read_automation(made)
    return found


def _give_block(action: dict[str, Any], block: str | None) -> dict[str, Any] | None:
    if action["type"] != "send-notification":
        return action
    return {**action, "block_document_id": block} if block else None


def _keep_block(prefect: str, url: str) -> str | None:
    """Makes or changes the block that notifies, and returns its id; None: nobody is to be notified."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if not url:
        return None
    block = CustomWebhookNotificationBlock(
        name="bcd",
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}", "subject": "{{subject}}", "body": "{{body}}"},
        secrets={"address": url},  # such an address lets whoever knows it write: the dashboard does not show it
    )
    with temporary_settings({PREFECT_API_URL: prefect}):
        return str(block.save(_BLOCK, overwrite=True))


def _find_block(client: SyncPrefectClient) -> str | None:
    found = client.request("POST", "/block_documents/filter", json={}).json()
    return next((each["id"] for each in found if each["name"] == _BLOCK), None)
