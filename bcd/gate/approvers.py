"""Who may sign for a champion: the names under `[gate] approvers` of bcd.toml, or anybody.

A name is what somebody typed; nothing proves who it was (SECURITY.md).
"""

from __future__ import annotations

from bcd.errors import BcdError
from bcd.formats import format_some
from bcd.gate.options import GateOptions
from bcd.settings import Settings
from bcd.store.sign_off import SignOff


def require_approver(settings: Settings, sign_off: SignOff) -> None:
    """Makes sure that a sign-off is by somebody who may make a version champion.

    Raises:
        BcdError: There is a list, and the name is not on it.
    """
    approvers = list_approvers(settings)
    if approvers and sign_off.by.strip() not in approvers:
        raise BcdError(
            f"{sign_off.by} is not on the list of those who may sign for a champion: {format_some(approvers, 20)}.",
            "Let one of them decide, or add the name to `approvers` under [gate] of bcd.toml.",
        )


def list_approvers(settings: Settings) -> list[str]:
    """Returns who may sign for a champion; empty: anybody."""
    return settings.options("gate", GateOptions).approvers
