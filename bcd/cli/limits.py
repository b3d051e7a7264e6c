"""The named concurrency limits on the Prefect server: as large as bcd.toml says, or as a person set them there.

They are compared three ways, as deployments are (`bcd.cli.deployments`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bcd.cli.deployments import Tree, merge
from bcd.cli.flow_runs import open_prefect_client
from bcd.files import whole_file
from bcd.settings import Settings
from flows.limits import SCORING, TRAINING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def keep_limits(settings: Settings, prefect: str, *, reset: bool = False) -> list[str]:
    """Makes and changes the limits as bcd.toml and the person at the dashboard want; returns what is worth telling.

    Args:
        settings: The home, whose `prefect/limits.json` says what bcd.toml said last.
        prefect: Address of the Prefect server.
        reset: Take bcd.toml's word for everything.
    """
    memory = settings.prefect / "limits.json"
    last = json.loads(memory.read_text()) if memory.exists() else None
    wanted = _read_settings(settings)
    with open_prefect_client(prefect) as client:
        server = _read_server(client)
        merged = merge(wanted, last, server, reset=reset)
        for name, limit in merged.settings.items():
            client.upsert_global_concurrency_limit_by_name(name, limit)
            if name not in server:  # it may be there and switched off
                client.request("PATCH", f"/v2/concurrency_limits/{name}", json={"active": True})
    with whole_file(memory) as partial:
        partial.write_text(json.dumps(wanted, indent=2))
    return [f"concurrency limit {line}" for line in merged.told if last is not None or reset]


def compare_limits(settings: Settings, prefect: str) -> tuple[str, list[str]]:
    """Returns what the limits are, in a sentence, and how they differ from bcd.toml, a sentence each."""
    wanted = _read_settings(settings)
    with open_prefect_client(prefect) as client:
        server = _read_server(client)
    shown = ", ".join(f"{name} {limit}" for name, limit in server.items())
    return f"Concurrency limits: {shown or 'none'}", [
        f"concurrency limit {line}" for line in merge(wanted, wanted, server).told
    ]


def _read_settings(settings: Settings) -> Tree:
    return {TRAINING: settings.trainings_at_once, SCORING: settings.scorings_at_once}


def _read_server(client: SyncPrefectClient) -> Tree:
    from prefect.exceptions import ObjectNotFound

    found: Tree = {}
    for name in (TRAINING, SCORING):
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            continue
        found[name] = limit.limit if limit.active else None  # switched off, it limits nothing
    return {name: limit for name, limit in found.items() if limit is not None}
