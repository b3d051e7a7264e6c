"""Re-admits refused files after a human decision, on the record: who released what, and why.

A release is a small delivery of its own, named `release of NAME`. It passes every rule again but the one that a
person decided on. What the rules compare (the same place, the same pixels) is checked again among the chosen files:
one side of a contradiction is admitted, both sides are not.

Examples:
    >>> released = release(
    ...     store, "idc-batch-1.zip", ["8867_idx5_x51_y51_class0.png"], sign_off=SignOff("Ada", "mucin")
    ... )  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.admission.rules import NOT_RELEASABLE, RELEASABLE, WAIVED
from bcd.errors import BcdError, NotFoundError
from bcd.formats import format_some
from bcd.progress import say_progress
from bcd.store import tables
from bcd.store.deliveries import Delivery, RefusedFile
from bcd.store.delivery_queries import list_stored_refusals, match_stored_delivery
from bcd.store.objects import in_use

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import Store

MAX_NAME = 255
"""Characters of a delivery's name in the catalog."""


@dataclass(frozen=True)
class Release:
    """What became of the files that were to be released.

    Attributes:
        delivery: The delivery that they were refused from.
        made: Id of the small delivery that the release became; None where all of them had been released before.
        released: Files that are admitted now.
        refused: Files that broke another rule when they were checked again.
        before: Files that had been released before.
    """

    delivery: Delivery
    made: str | None
    released: list[str]
    refused: list[RefusedFile]
    before: list[str]


class KeptSource:
    """Files of the quarantine under the names that they were delivered with, as a source of admission."""

    def __init__(self, folder: Path, files: Sequence[RefusedFile]) -> None:
        self.names = [file.name for file in files]
        self._paths = [folder / (file.kept or "") for file in files]

    def size(self, member: int) -> int:
        """Returns a file's size in bytes."""
        return self._paths[member].stat().st_size

    def hazard(self, member: int) -> tuple[str, str] | None:  # noqa: ARG002
        """Returns None: what the quarantine keeps are plain files."""
        return None

    def read(self, member: int, limit: int) -> bytes:
        """Reads at most `limit` bytes of a file."""
        with self._paths[member].open("rb") as file:
            return file.read(limit)

    def copy(self, member: int, target: Path) -> None:
        """Copies a whole file."""
        shutil.copyfile(self._paths[member], target)


def release(
    store: Store,
    delivery: str,
    files: Sequence[str],
    *,
    sign_off: SignOff,
    label: int | None = None,
) -> Release:
    """Re-admits refused files of a delivery.

    Args:
        store: The open store.
        delivery: The delivery's or its batch's id, the beginning of either, or its name.
        files: Their paths in the delivery, as `bcd batch refusals` shows them, or just their last part, or the names
            of their copies in the quarantine; `*` stands for any text.
        sign_off: Who decided, and why.
        label: The patches' label, instead of what their names say.

    Raises:
        BcdError: A file is not among the refused ones, cannot be released, is no longer in the quarantine or needs a
            label, or all of them break another rule; then nothing is admitted.
    """
    from bcd.admission.report import write_admission_report

    found = match_stored_delivery(store, delivery)
    chosen = _choose_refused_files(found, list_stored_refusals(store, found.id), files)
    before = [file.name for file in chosen if file.released is not None]
    pending = [file for file in chosen if file.released is None]
    made, released, again = None, [], []
    if pending:
        with in_use(store.settings, store.settings.quarantine / found.id) as quarantine:
            _check_releasable(store.settings, found, pending, label)
            made = _admit_quarantined(store, found, pending, label)
            again = list_stored_refusals(store, made)
            admitted = _leave_out_refused_again(pending, again, quarantine)
        released = [file.name for file in admitted]
        _record(store, made, admitted, sign_off=sign_off)
        write_admission_report(store, made)
    if before:
        say_progress(f"{len(before):,} of the files had been released before: nothing changes for them.")
    write_admission_report(store, found.id)
    return Release(found, made, released, again, before)


def _admit_quarantined(store: Store, found: Delivery, files: Sequence[RefusedFile], label: int | None) -> str:
    """Admits files of the quarantine as a delivery of their own and returns its id."""
    from bcd.admission.admit import admit_source

    return admit_source(
        store,
        KeptSource(store.settings.quarantine / found.id, files),
        name=f"release of {found.name}"[:MAX_NAME],
        hospital=found.hospital,
        waived={file.name: file.rule for file in files if file.rule in WAIVED},
        labels={} if label is None else {file.name: label for file in files},
        is_release=True,
    ).id


def _choose_refused_files(found: Delivery, refused: Sequence[RefusedFile], files: Sequence[str]) -> list[RefusedFile]:
    chosen = {file.number: file for text in files for file in _match_refused_file(found, refused, text)}
    return [chosen[number] for number in sorted(chosen)]


def _match_refused_file(found: Delivery, refused: Sequence[RefusedFile], text: str) -> list[RefusedFile]:
    exact = [file for file in refused if text in (file.name, file.kept)]
    if exact:
        return exact
    if "*" in text:
        alike = [file for file in refused if fnmatchcase(file.name, text) or fnmatchcase(file.kept or "", text)]
    else:
        alike = [file for file in refused if file.name.rpartition("/")[2] == text]
        if len(alike) > 1:
            raise BcdError(
                f"{text} may be {len(alike)} files: {format_some([file.kept or file.name for file in alike], 10)}.",
                "Name one as it lies in the quarantine.",
            )
    if not alike:
        raise NotFoundError(
            f"{found.name} has no refused file {text}.", f"`bcd batch refusals {found.id[:12]}` lists them."
        )
    return alike


def _check_releasable(settings: Settings, found: Delivery, files: Sequence[RefusedFile], label: int | None) -> None:
    for file in files:
        if file.rule not in RELEASABLE:
            raise BcdError(
                f"{file.name} was refused by the rule {file.rule}, which no release lifts:",
                f"{NOT_RELEASABLE[file.rule]}.",
            )
        if file.rule == "two-labels" and label is None:
            raise BcdError(
                f"{file.name} was delivered with two labels: {file.message}", "Say which is right: --label 0 or 1."
            )
        path = settings.quarantine / found.id / (file.kept or "")
        if file.kept is None or not path.is_file():
            raise BcdError(f"{file.name} is no longer in the quarantine.", "Deliver it again.")


def _leave_out_refused_again(
    files: Sequence[RefusedFile], again: Sequence[RefusedFile], folder: Path
) -> list[RefusedFile]:
    """Returns the files that were not refused again."""
    refused = Counter((file.name, file.sha256) for file in again)
    admitted = []
    for file in files:
        # Not `file.sha256`: the quarantine's copy may have lost the text that the delivered file carried.
        key = file.name, hashlib.sha256((folder / (file.kept or "")).read_bytes()).hexdigest()
        if refused[key]:
            refused[key] -= 1
        else:
            admitted.append(file)
    return admitted


def _record(store: Store, made: str, files: Sequence[RefusedFile], *, sign_off: SignOff) -> None:
    """Records who released the files; what a killed run had recorded already stays as it is."""
    releases = tables.releases
    with store.write() as connection:
        recorded = set(connection.scalars(sa.select(releases.c.refusal).where(releases.c.delivery == made)))
        rows = [
            {"refusal": file.number, "delivery": made, **vars(sign_off)}
            for file in files
            if file.number not in recorded
        ]
        if rows:
            connection.execute(sa.insert(releases), rows)
