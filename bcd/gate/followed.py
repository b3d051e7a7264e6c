"""What follows a decision of the gate: it is told, a person may be asked, the champion is evaluated again.

Tags on the version say how far that came, each with the decision's key, so that whoever goes on after a kill neither
leaves out a step nor repeats one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.bundle.aliases import find_decided_version
from bcd.store.decisions import list_stored_decisions
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bcd.bundle.rows import VersionRow
    from bcd.settings import Settings
    from bcd.store.decisions import Decision
    from bcd.store.store import Store

TOLD, FOLLOWED = "mlflow.bcd.told", "mlflow.bcd.followed"
"""Tags: the decision of this key was told; all that follows it was done."""

PROMOTE_LOCK = "promote"
"""The lock of the catalog under which a decision is taken and all that follows it is done."""


def find_unfollowed_decision(rows: Iterable[VersionRow], store: Store) -> Decision | None:
    """Returns the gate's last decision where not all that follows it is done; None: it is, or its version is gone."""
    last = next((one for one in reversed(list_stored_decisions(store)) if one.kind == "gate"), None)
    row = find_decided_version(rows, last) if last else None
    return last if last and row and row.tags.get(FOLLOWED) != last.key else None


def is_marked(settings: Settings, decision: Decision, tag: str) -> bool:
    """Whether a tag on the version says that a step was done after this decision."""
    version = open_mlflow_client(settings).get_model_version(MODEL, decision.challenger)
    return bool(version.tags.get(tag) == decision.key)


def mark(settings: Settings, decision: Decision, tag: str) -> None:
    """Notes on the version that a step was done after this decision."""
    open_mlflow_client(settings).set_model_version_tag(MODEL, decision.challenger, tag, decision.key)
