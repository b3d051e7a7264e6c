"""A look at every file of a delivery: read, hashed, checked against the rules and decoded, in threads.

OpenCV and hashing release the interpreter, so threads use all cores. A few chunks are under way at a time, and
pixels go to the spool, so memory stays bounded whatever the delivery's size.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bcd.admission.findings import Findings
from bcd.admission.pixels import (
    blank_refusal,
    find_blank,
    flag_delivered_pixels,
    hash_delivered_pixels,
    look_at_pixels,
)
from bcd.admission.plan import AdmissionPlan
from bcd.admission.png import MAX_BYTES, check_bytes, decode_patch
from bcd.admission.rules import Refusal
from bcd.admission.sources.containers import archive_kind
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.progress import track_progress
from bcd.store.spool import DIGEST_BYTES, PATCH_SHAPE, Spool, make_scratch_digests

if TYPE_CHECKING:
    import pandas as pd

_LOOKS = ("flags", "red", "green", "blue")

CHUNK = 128
"""Files that one thread looks at in one go."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class _Look:
    """What one thread saw of a chunk: of every file its digest, of the good patches the rest."""

    members: list[int]
    digests: list[bytes]
    refused: dict[int, Refusal] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, *PATCH_SHAPE), np.uint8))
    pixel_digests: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, DIGEST_BYTES), np.uint8))
    colours: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 3), np.uint8))
    flags: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


def examine_files(source: Source, plan: AdmissionPlan, spool: Spool) -> Findings:
    """Looks at files one by one and appends the pixels of the good patches to the spool.

    Args:
        source: The delivery.
        plan: What its names say.
        spool: Takes the decoded patches.

    Returns:
        What was found; slides and tables of labels are not opened, nor hashed, yet.
    """
    digests = make_scratch_digests(spool.folder, len(plan.names))
    refused = dict(plan.refused)
    members = plan.patches["member"].to_numpy()
    kept = _Kept()
    chunks = [range(start, min(start + CHUNK, len(members))) for start in range(0, len(members), CHUNK)]
    others = [*plan.refused, *plan.slide_tables]
    with track_progress("Reading files", total=len(members) + len(others)) as advance:
        for look in _map_in_order(lambda rows: _look_at_patches(source, rows, members, plan.shown_blank), chunks):
            _take(look, digests, refused)
            kept.append(look, spool)
            advance(len(look.members))
        for part in (others[start : start + CHUNK] for start in range(0, len(others), CHUNK)):
            _take(_hash_files(source, part, refused), digests, refused)
            advance(len(part))
    return Findings(
        names=plan.names,
        ignored=set(plan.litter),
        digests=digests,
        refused=refused,
        private=set(),
        patches=kept.as_frame(plan.patches),
        pixel_digests=spool.digests,
    )


def _take(look: _Look, digests: NDArray[np.uint8], refused: dict[int, Refusal]) -> None:
    if look.members:
        seen = np.frombuffer(b"".join(look.digests), np.uint8).reshape(-1, DIGEST_BYTES)
        digests[look.members] = seen
    refused.update(look.refused)


def _look_at_patches(source: Source, rows: Sequence[int], members: NDArray[np.int32], shown_blank: set[int]) -> _Look:
    look = _Look(members[rows[0] : rows[-1] + 1].tolist(), [])
    pixels = np.empty((len(rows), *PATCH_SHAPE), np.uint8)
    for row, member in zip(rows, look.members, strict=True):
        data = _read(source, member, look)
        refusal = look.refused.get(member) or check_bytes(data)
        if refusal is None:
            decoded = decode_patch(data)
            if not isinstance(decoded, Refusal):
                pixels[len(look.rows)] = decoded
                look.rows.append(row)
                continue
            refusal = decoded
        look.refused[member] = refusal
    if look.rows:
        _look_at_decoded(look, pixels[: len(look.rows)], members, shown_blank)
    return look


def _look_at_decoded(
    look: _Look, pixels: NDArray[np.uint8], members: NDArray[np.int32], shown_blank: set[int]
) -> None:
    shown = look_at_pixels(pixels)
    blank, flags, colours = find_blank(shown), flag_delivered_pixels(shown), shown.colours
    if blank.any():
        blank &= [int(members[row]) not in shown_blank for row in look.rows]
        for place in np.flatnonzero(blank):
            look.refused[int(members[look.rows[place]])] = blank_refusal(colours[place])
        good = np.flatnonzero(~blank)
        pixels, colours, flags = pixels[good], colours[good], flags[good]
        look.rows = [look.rows[place] for place in good]
    look.pixels, look.colours, look.flags = pixels, colours, flags
    look.pixel_digests = hash_delivered_pixels(pixels)


def _hash_files(source: Source, members: Sequence[int], refused: dict[int, Refusal]) -> _Look:
    """Hashes files that are not decoded; each keeps the refusal that it has, unless its bytes are an archive's."""
    look, found = _Look(list(members), []), {}
    for member in members:
        if member in refused and refused[member].rule == "not-a-file":
            look.digests.append(hashlib.sha256(source.names[member].encode()).digest())
        else:
            data = _read(source, member, look)
            kind = archive_kind(data) if member in refused and refused[member].rule == "name" else None
            if kind is not None:
                found[member] = Refusal("nested-archive", f"The file is a {kind} archive, whatever its name says.")
    look.refused = {member: refusal for member, refusal in look.refused.items() if member not in refused} | found
    return look


def _read(source: Source, member: int, look: _Look) -> bytes:
    """Reads a file and hashes it: its bytes, or its beginning and its size where it is too large."""
    size = source.size(member)
    try:
        data = source.read(member, MAX_BYTES)
    except UnreadableFileError as error:
        look.refused[member] = Refusal(error.rule, f"The file cannot be read: {error}.")
        data, size = b"", 0
    digest = hashlib.sha256(data)
    if size > MAX_BYTES:
        look.refused[member] = Refusal("too-large", f"The file has {size:,} bytes.")
        digest.update(str(size).encode())
    look.digests.append(digest.digest())
    return data


class _Kept:
    """Gathers the good patches, as columns."""

    def __init__(self) -> None:
        self._rows, self._spool_rows, self._looks = array("i"), array("i"), bytearray()

    def append(self, look: _Look, spool: Spool) -> None:
        if look.rows:
            first = spool.append(look.pixels)
            spool.digests.append(look.pixel_digests)
            self._rows.extend(look.rows)
            self._spool_rows.extend(range(first, first + len(look.rows)))
            self._looks += np.column_stack([look.flags, look.colours]).tobytes()

    def as_frame(self, planned: pd.DataFrame) -> pd.DataFrame:
        rows = np.frombuffer(self._rows, np.int32)
        frame = planned if len(rows) == len(planned) else planned.iloc[rows].reset_index(drop=True)
        looks = np.frombuffer(self._looks, np.uint8).reshape(-1, len(_LOOKS))
        seen = {name: looks[:, place].copy() for place, name in enumerate(_LOOKS)}
        return frame.assign(**seen, spool_row=np.frombuffer(self._spool_rows, np.int32))


def _map_in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    workers = len(os.sched_getaffinity(0))
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="admission") as pool:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
