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
from bcd.admission.sources.member_names import MemberNames
from bcd.store.batches import text_of
from bcd.store.complete import CompleteSlide
from bcd.store.frames import SlideFrame
from bcd.store.spool import Digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

_CHUNK = 16_384  # files whose lines are made at a time

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
        patches: A row a patch that its own bytes do not refuse, in canonical order: member, patient, slide
            (category), x, y, label (int8, -1 = none), flags (bits), red, green, blue (its mean colour), spool_row.
        pixel_digests: sha256 of the pixels of each row of the spool.
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
    pixel_digests: Digests
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

    def list_files(self, chunk: int = _CHUNK) -> Iterator[memoryview]:
        """Yields a line of text for each file, ignored ones left out, in the order of the lines, some at a time.

        Each begins with its line end: name, tab, sha256 of its bytes.

        Args:
            chunk: Files whose lines are made at a time.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        names = self.names if isinstance(self.names, MemberNames) else MemberNames(self.names)
        lines = names.lines()
        order = pc.sort_indices(lines).to_numpy()  # as UTF-8, whose order is that of the text
        if self.ignored:
            order = order[~np.isin(order, list(self.ignored))]
        order = self._sort_namesakes(lines, order, chunk)
        for start in range(0, len(order), chunk):
            members = order[start : start + chunk]
            hashes, tab = hex_text(self.digests[members]), pa.scalar("\t", pa.large_string())
            yield text_of(pc.binary_join_element_wise(lines.take(pa.array(members)), hashes, tab))

    def _sort_namesakes(
        self, lines: pa.LargeStringArray, order: NDArray[np.uint64], chunk: int
    ) -> NDArray[np.uint64]:
        """Brings files of the same name, which an archive may hold, into the order of their hashes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        repeats = []
        for start in range(0, len(order) - 1, chunk):
            sorted_lines = lines.take(pa.array(order[start : start + chunk + 1]))
            same = pc.equal(sorted_lines[1:], sorted_lines[:-1])
            repeats.append(start + np.flatnonzero(same.to_numpy(zero_copy_only=False)))
        places = np.concatenate([np.empty(0, np.int64), *repeats])
        if not len(places):
            return order
        order = order.copy()
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            alike = slice(run[0], run[-1] + 2)
            order[alike] = sorted(order[alike], key=lambda member: self.digests[member].tobytes())
        return order

    def pixel_hashes(self, rows: pd.DataFrame) -> pd.Series[str]:
        """Returns the sha256 of the pixels of rows of `patches`, in hex."""
        return as_hex(self.pixel_digests[rows["spool_row"].to_numpy()])

    def refusals(self) -> dict[int, Refusal]:
        """Returns the refusal of every refused file, by member.

        A slide is refused where none of its patches stands, by the rule that refused the first.
        """
        members = self.patches["member"].to_numpy()
        rows = sorted(self.rejected)
        standing = np.delete(members, rows)
        also_standing = set(standing[np.isin(standing, members[rows])].tolist())
        refused = dict(self.refused)
        for row in rows:
            member = int(members[row])
            if member not in also_standing:
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


def as_hex(digests: NDArray[np.uint8]) -> pd.Series[str]:
    """Returns digests (n, bytes) uint8 as hex text."""
    import pandas as pd

    return pd.Series(hex_text(digests), dtype="str")


def hex_text(digests: NDArray[np.uint8]) -> pa.LargeStringArray:
    """Returns digests (n, bytes) uint8 as hex text, in Arrow's memory."""
    import pyarrow as pa

    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    n, width = digests.shape
    text = np.empty((n, width, 2), np.uint8)
    text[:, :, 0], text[:, :, 1] = digits[digests >> 4], digits[digests & 15]
    offsets = pa.py_buffer(np.arange(0, (n + 1) * 2 * width, 2 * width, dtype=np.int64))
    return pa.LargeStringArray.from_buffers(n, offsets, pa.py_buffer(text.tobytes()))


def commonest_rule(counts: Mapping[str, int]) -> str:
    """Returns the rule that most files break; of several the one that is looked at first."""
    return max(RULES, key=lambda rule: counts.get(rule, 0))


def count_rules(refusals: dict[int, Refusal]) -> dict[str, int]:
    """Counts refusals by rule, in the order of the codes."""
    return dict(sorted(Counter(refusal.rule for refusal in refusals.values()).items()))
