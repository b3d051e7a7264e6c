"""Sign-offs: who answers for a decision, why, and since when. It is the same for every decision that a person takes.

Rows of the catalog that somebody answers for have its columns: `by`, `reason` and `at`.

Examples:
    >>> SignOff("Dr Lee", "second reading").by
    'Dr Lee'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from bcd.errors import BcdError

LONGEST = {"by": 255, "reason": 5000}
"""Characters of each."""


@dataclass(frozen=True)
class SignOff:
    """A person's recorded word.

    Attributes:
        by: Who decides.
        reason: Why; recorded for ever.
        at: When, in UTC.
    """

    by: str
    reason: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Refuses a decision that nobody answers for.

        Raises:
            BcdError: The name or the reason is missing or too long.
        """
        for option, longest in LONGEST.items():
            said = getattr(self, option).strip()
            if not said:
                raise BcdError(
                    f"The decision has no --{option}.", "Say who decides with --by, and why with --reason."
                )
            if len(said) > longest:
                raise BcdError(
                    f"--{option} has {len(said):,} characters, and {longest:,} are recorded.", "Say it shorter."
                )

    def __str__(self) -> str:
        return f"by {self.by} on {self.at:%Y-%m-%d}: {self.reason}"
