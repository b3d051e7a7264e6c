"""A link of a lineage: one thing that was recorded, its hash, when and by whom it was made, and of what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pandas as pd

PATCHES = "patches.csv"
"""The file of a written lineage that lists the patient's patches with the hash of the file that each came in."""

Kind = Literal[
    "delivery",
    "file",
    "batch",
    "patch",
    "labels",
    "withdrawal",
    "snapshot",
    "study",
    "training",
    "bundle",
    "policy",
    "decision",
    "report",
]


class Link(BaseModel):
    """One link.

    Attributes:
        kind: What it is.
        name: Which one; no two links of a lineage have kind and name in common.
        sha256: Its hash, in hex; empty: none was recorded.
        hash_of: What the hash is of, in words.
        at: When it was made, in UTC; None: not recorded.
        by: Who made it, or answers for it; empty: not recorded.
        facts: What else is recorded of it, in sentences.
        where: Where it lies, relative to BCD_HOME; empty: nowhere there.
        previous: Keys of the links that it was made of.
        missing: Why no more of it is known, in a sentence; empty: it is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    sha256: str = ""
    hash_of: str = ""
    at: datetime | None = None
    by: str = ""
    facts: tuple[str, ...] = ()
    where: str = ""
    previous: tuple[str, ...] = ()
    missing: str = ""

    @property
    def key(self) -> str:
        """Kind and name in one."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Lineage:
    """Where something comes from.

    Attributes:
        subject: What was asked for, in words.
        links: Every link after those that it was made of; the last one is of what was asked for.
        patches: Each patch of the patient, a row a patch: hospital, patient, slide, x, y, label, batch, row,
            pixel_sha256, file_sha256 (NA where the batch's index is gone), and probability where a report is there;
            None for a version.
    """

    subject: str
    links: tuple[Link, ...]
    patches: pd.DataFrame | None = None

    def of(self, kind: Kind) -> list[Link]:
        """Returns the links of a kind, in their order."""
        return [link for link in self.links if link.kind == kind]

    def behind(self, link: Link) -> Iterator[Link]:
        """Yields a link and all that it was made of, each once."""
        known = {each.key: each for each in self.links}
        waiting, seen = [link.key], set[str]()
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                yield known[key]
                waiting += known[key].previous


def keys_of(links: Iterable[Link]) -> tuple[str, ...]:
    """Returns the keys of some links, each once, as another link names them."""
    return tuple(dict.fromkeys(link.key for link in links))


def hash_text(text: str) -> str:
    """Returns the sha256 of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
