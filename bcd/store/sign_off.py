"""Sign-offs: who answers for a decision, why, and since when. It is the same for every decision that a person takes.

Rows of the catalog that somebody answers for have its columns: `by`, `reason` and `at`.

Examples:
    >>> SignOff("Dr Lee", "second reading") == SignOff("Dr Lee", "second reading")
    True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bcd.errors import BcdError

LONGEST = {"by": 255, "reason": 5000}
"""Characters of each."""

COLUMNS = ("by", "reason", "at")
"""Columns of a row that somebody answers for."""


@dataclass(frozen=True)
class SignOff:
    """A person's recorded word; two by one person for one reason are equal, whenever they were given.

    Attributes:
        by: Who decides.
        reason: Why; recorded for ever.
        at: When, in UTC.
    """

    by: str
    reason: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    def __post_init__(self) -> None:
        """Refuses a decision that nobody answers for.

        Raises:
            BcdError: The name or the reason is missing or too long.
        """
        for name, longest in LONGEST.items():
            length = len(getattr(self, name).strip())
            if not length:
                raise BcdError(f"--{name} is empty.", "Say who decides with --by, and why with --reason.")
            if length > longest:
                raise BcdError(f"--{name} has {length:,} characters; {longest:,} are recorded.", "Say it shorter.")

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> SignOff:
        """Returns the sign-off in a row of the catalog."""
        return cls(*(row[name] for name in COLUMNS))

    def __str__(self) -> str:
        return f"by {self.by} on {self.at:%Y-%m-%d}: {self.reason}"
