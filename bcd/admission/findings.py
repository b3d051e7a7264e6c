"""What a look at a delivery found: of every file its hash, of every good patch what its name and pixels say.

Patches are rows of a frame and not objects, because a delivery may hold hundreds of thousands.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.rules import RULES, Refusal
from bcd.store.complete import CompleteSlide
from bcd.store.frames import SlideFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

DIGEST_BYTES = 32

_LONG = 120  # characters of a path that a sentence shows


@dataclass
class Findings:
    """A delivery that was looked at and is not settled yet.

    Attributes:
        names: Every file's path as it may be seen, by member.
        ignored: Number of files that an operating system left behind.
        digests: sha256 of every file's bytes, (files, 32) uint8; zero where it was ignored.
        refused: Refusals by member, of files that hold no patch to compare.
        private: Members whose bytes are never copied into the store.
        patches: A row a patch that its own bytes do not refuse: member, patient, slide (category), x, y, label (int8,
            -1 = none), sha256, pixel_sha256 (hex), flags (bits), red, green, blue (its mean colour), spool_row.
        complete: Its slides that are complete, refused ones among them.
        frames: Where patches lie in its slides that were cut, refused ones among them.
        label_rows: Rows of the tables of labels.
        unmatched_rows: Those of them that name no patch of the delivery.
        label_notes: What is to be said of those.
        contradicted: Refusals by row of `patches`, of those that a table of labels contradicts.
        rejected: Refusals by row of `patches`, those included; made anew whenever the delivery is settled.
    """

    names: Sequence[str]
    ignored: set[int]
    digests: NDArray[np.uint8]
    refused: dict[int, Refusal]
    private: set[int]
    patches: pd.DataFrame
    complete: list[CompleteSlide] = field(default_factory=list)
    frames: list[SlideFrame] = field(default_factory=list)
    label_rows: int = 0
    unmatched_rows: int = 0
    label_notes: list[str] = field(default_factory=list)
    contradicted: dict[int, Refusal] = field(default_factory=dict)
    rejected: dict[int, Refusal] = field(default_factory=dict)

    def start_over(self) -> None:
        """Forgets what was refused by comparison with what the catalog held."""
        self.rejected = dict(self.contradicted)

    def reject(self, row: int, refusal: Refusal) -> None:
        """Refuses a patch."""
        self.rejected[row] = refusal

    def standing(self) -> pd.DataFrame:
        """Returns the patches that nothing has refused so far."""
        return self.patches.drop(index=list(self.rejected)) if self.rejected else self.patches

    def refusals(self) -> dict[int, Refusal]:
        """Returns the refusal of every refused file, by member.

        A slide is refused where none of its patches stands, by the rule that refused the first.
        """
        members = self.patches["member"].to_numpy()
        standing = set(np.delete(members, list(self.rejected)).tolist()) if self.rejected else None
        refused = dict(self.refused)
        for row in sorted(self.rejected):
            member = int(members[row])
            if standing is None or member not in standing:
                refused.setdefault(member, self.rejected[row])
        return dict(sorted(refused.items()))

    def explain(self, name: str, refusals: dict[int, Refusal]) -> str:
        """Says why nothing of a delivery is admitted: what is wrong with the first file of the commonest rule.

        Args:
            name: The delivery's name as it may be seen.
            refusals: All of its refusals, by member; there is one at least.
        """
        counts = count_rules(refusals)
        rule = commonest_rule(counts)
        member, refusal = next((member, one) for member, one in refusals.items() if one.rule == rule)
        file = self.names[member]
        named = "" if file == name else f"{file if len(file) <= _LONG else f'…{file[-_LONG:]}'}: "
        by_rule = ", ".join(f"{code} {count:,}" for code, count in counts.items())
        what = f"Nothing in {name} can be admitted. {named}{refusal.message}"
        return f"{what} Files by the rule that they break: {by_rule}."

    @cached_property
    def files(self) -> int:
        """Number of files of the delivery."""
        return len(self.names)


def commonest_rule(counts: Mapping[str, int]) -> str:
    """Returns the rule that most files break; of several the one that is looked at first."""
    return max(RULES, key=lambda rule: counts.get(rule, 0))


def count_rules(refusals: dict[int, Refusal]) -> dict[str, int]:
    """Counts refusals by rule, in the order of the codes."""
    return dict(sorted(Counter(refusal.rule for refusal in refusals.values()).items()))
