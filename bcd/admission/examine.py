"""A look at every file of a delivery: read, hashed, checked against the rules and decoded, in threads.

OpenCV and hashing release the interpreter, so threads use all cores. A few chunks are under way at a time, so
memory stays bounded whatever the delivery's size.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar

import numpy as np

from bcd.admission.rules import MAX_BYTES, Refusal, check_bytes, check_folders, check_place, folder_label
from bcd.admission.sources import Member, Source, UnreadableFileError
from bcd.patches import PatchName
from bcd.progress import track

CHUNK = 128
"""Files that one thread looks at in one go."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Finding:
    """What a look at one file found.

    Attributes:
        member: The file.
        sha256: Hash of its bytes (of its beginning and its size, where it is too large).
        name: What its name says; None where it does not follow the grammar.
        label: Its label by name or folder.
        refusal: The rule that it broke; None so far as it is good.
        pixel_sha256: Hash of its decoded pixels.
        spool_row: Where its pixels lie in the spool.
    """

    member: Member
    sha256: str
    name: PatchName | None = None
    label: int | None = None
    refusal: Refusal | None = None
    pixel_sha256: str = ""
    spool_row: int = -1

    @property
    def patch(self) -> PatchName:
        """What its name says, of a file that was not refused for its name."""
        assert self.name is not None
        return self.name


def examine_files(source: Source, members: Sequence[Member], spool: BinaryIO) -> list[Finding]:
    """Looks at files one by one and appends the pixels of the good ones to the spool.

    Args:
        source: The delivery.
        members: Its files without litter.
        spool: Takes (50, 50, 3) uint8 RGB after (50, 50, 3) uint8 RGB.

    Returns:
        What was found, in the order of `members`.
    """
    top = _enclosing_folders(members)
    findings: list[Finding] = []
    rows = 0

    def look(chunk: Sequence[Member]) -> list[tuple[Finding, np.ndarray | None]]:
        return [_look_at(source, member, top) for member in chunk]

    chunks = (members[start : start + CHUNK] for start in range(0, len(members), CHUNK))
    with track("Reading files", total=len(members)) as advance:
        for looked in _map_in_order(look, chunks):
            for finding, pixels in looked:
                if pixels is not None:
                    spool.write(pixels.data)
                    finding.spool_row = rows
                    rows += 1
                findings.append(finding)
            advance(len(looked))
    spool.flush()
    return findings


def _enclosing_folders(members: Sequence[Member]) -> int:
    """Counts the folders that enclose all patches; they mean nothing."""
    paths = (member.path for member in members)
    levels = zip(*(path.parts[:-1] for path in paths if PatchName.parse(path.name)), strict=False)
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _look_at(source: Source, member: Member, top: int) -> tuple[Finding, np.ndarray | None]:
    if not member.is_file:
        return Finding(
            member, _sha256(member.name.encode()), refusal=Refusal("not-a-file", "Not a plain file.")
        ), None
    try:
        data = source.read(member, MAX_BYTES)
    except UnreadableFileError as error:
        refusal = Refusal("unreadable", f"The file cannot be read: {error}.")
        return Finding(member, _sha256(b""), refusal=refusal), None
    too_large = member.size > MAX_BYTES
    finding = Finding(member, _sha256(data + str(member.size).encode() if too_large else data))
    finding.name = PatchName.parse(member.path.name)
    if finding.name is None:
        finding.refusal = Refusal("name", f"{member.path.name} is not named as a patch.")
    elif too_large:
        finding.refusal = Refusal("too-large", f"The file has {member.size:,} bytes.")
    else:
        finding.refusal = _check_name(member.path, finding.name, top) or check_bytes(data)
    if finding.refusal is not None or finding.name is None:
        return finding, None
    label = finding.name.label
    finding.label = folder_label(member.path, finding.name) if label is None else label
    pixels = decode_patch(data)
    if pixels is None:
        finding.refusal = Refusal("unreadable", "The PNG's pixels are damaged.")
        return finding, None
    finding.pixel_sha256 = _sha256(pixels.data)
    return finding, pixels


def _check_name(path: PurePosixPath, name: PatchName, top: int) -> Refusal | None:
    return check_folders(path, name, top) or check_place(name)


def decode_patch(data: bytes) -> np.ndarray | None:
    """Decodes a PNG of 8-bit RGB as stored: RGB, and not turned by any orientation tag; None where damaged."""
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else np.ascontiguousarray(pixels)


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


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
