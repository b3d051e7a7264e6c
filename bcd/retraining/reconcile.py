"""What processes that were killed after a decision left undone, as catalog and registry say, whatever event was lost.

Examples:
        find_unfinished(store).half_done
"""

from __future__ import annotations

from dataclasses import dataclass

from bcd.bundle.aliases import find_decided_version, find_half_done_decision, finish_moving_aliases
from bcd.bundle.rows import read_registered_versions
from bcd.gate.followed import find_unfollowed_decision
from bcd.gate.overrides import list_awaiting_sign_off
from bcd.gate.promotion import LOCK
from bcd.retraining.plan import has_plan
from bcd.store.decisions import Decision, list_stored_decisions
from bcd.store.store import Store
from bcd.tracking.lookup import KEY_TAG
from bcd.tracking.store import experiment_id, open_mlflow_client


@dataclass(frozen=True)
class Unfinished:
    """What is left to be done.

    Attributes:
        half_done: The decision whose aliases have not all moved; None: they have.
        plan: The plan whose retraining the gate has decided on, and which `promote` is to go on with; None: none.
        awaiting: The promotions that await a person's sign-off, about which a question should be open.
    """

    half_done: Decision | None
    plan: str | None
    awaiting: list[Decision]


def find_unfinished(store: Store) -> Unfinished:
    """Looks for what is left to be done; changes nothing, and imports nothing heavy."""
    rows = read_registered_versions(store.settings)
    decision = find_unfollowed_decision(rows, store)
    plan = str(decision.evidence.get("bundle", "")) if decision else ""
    return Unfinished(
        half_done=find_half_done_decision(rows, store),
        plan=plan if has_plan(store.settings, plan) else None,
        awaiting=[one for one in list_awaiting_sign_off(store) if find_decided_version(rows, one) is not None],
    )


def finish_decided_runs(store: Store) -> int:
    """Marks as finished the gate's runs in MLflow that were killed after their decision was recorded.

    All that they hold was logged before it. Returns how many.
    """
    client = open_mlflow_client(store.settings)
    killed = client.search_runs([experiment_id(client)], "attributes.status = 'KILLED' and tags.`bcd.kind` = 'gate'")
    decided = {one.key for one in list_stored_decisions(store)}
    finished = [run for run in killed if run.data.tags.get(KEY_TAG) in decided]
    for run in finished:
        if "bcd.error" in run.data.tags:
            client.delete_tag(run.info.run_id, "bcd.error")
        client.set_terminated(run.info.run_id, "FINISHED")
    return len(finished)


def carry_out_last_decision(store: Store) -> Decision | None:
    """Moves the aliases that the last decision names, where its process died before; returns the decision, if so."""
    with store.lock(LOCK):
        return finish_moving_aliases(open_mlflow_client(store.settings), store)
