"""The rules that compare patches with each other: with earlier batches first, then within the delivery.

Where two files contradict each other there is no telling which is right, so neither is admitted; where they say
the same, one is. What contradicts an earlier batch is refused, and raises a doubt about the patch that lies there:
the batch is never edited, the next snapshot leaves the patch out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bcd.admission.findings import Findings
from bcd.admission.rules import Refusal
from bcd.patches import CELL, Hospital, PatientId, SlideId
from bcd.store.known import KnownPatch, in_chunks, known_cells, known_pixels
from bcd.store.spool import begin_digests
from bcd.store.store import Store
from bcd.store.withdrawals import list_withdrawals

if TYPE_CHECKING:
    import pandas as pd

_CELL = CELL[1:]
"""The columns that name a patch within its hospital."""

CHUNK = 20_000
"""Patches that are compared with the catalog at a time."""


class Patch(NamedTuple):
    """A patch of the delivery, as the rules compare it."""

    row: int
    member: int
    patient: PatientId
    slide: SlideId
    x: int
    y: int
    label: int | None
    pixel_sha256: str


@dataclass
class Doubts:
    """What a delivery says about patches that earlier batches hold.

    Attributes:
        conflicts: The patches that it contradicts, each with the refusal of the one that does.
        labels: Labels for patches that were admitted without one.
    """

    conflicts: list[tuple[KnownPatch, Refusal]] = field(default_factory=list)
    labels: list[tuple[KnownPatch, int]] = field(default_factory=list)


def refuse_withdrawn(store: Store, hospital: Hospital, findings: Findings) -> None:
    """Refuses the patches of patients who have withdrawn consent; their bytes are never kept."""
    withdrawn = [one.patient for one in list_withdrawals(store, hospital)]
    patches = findings.patches
    for row, member in patches.loc[patches["patient"].isin(withdrawn), "member"].items():
        findings.reject(int(str(row)), Refusal("withdrawn", "The patient has withdrawn consent."))
        findings.private.add(int(member))


def refuse_known(store: Store, hospital: Hospital, findings: Findings) -> Doubts:
    """Refuses what earlier batches hold already, or contradict."""
    doubts = Doubts()
    standing = findings.standing()
    patients = sorted(str(patient) for patient in standing["patient"].unique())
    for some in in_chunks(patients, 100):
        cells = {(one.patient, one.slide, one.x, one.y): one for one in known_cells(store, hospital, some)}
        if cells:
            for patch in _list_patches(findings, standing[standing["patient"].isin(some)]):
                known = cells.get((patch.patient, patch.slide, patch.x, patch.y))
                if known is not None:
                    findings.reject(patch.row, _check_cell(patch, known, doubts))
    standing = findings.standing()
    for start in range(0, len(standing), CHUNK):
        part = standing.iloc[start : start + CHUNK]
        hashes = findings.pixel_hashes(part)
        of_pixels: dict[str, list[KnownPatch]] = {}
        for known in known_pixels(store, hashes.tolist()):
            of_pixels.setdefault(known.pixel_sha256, []).append(known)
        for patch in _list_patches(findings, part[hashes.isin(list(of_pixels)).to_numpy()]) if of_pixels else ():
            refusal = _check_pixels(hospital, patch, of_pixels[patch.pixel_sha256], doubts)
            if refusal is not None:
                findings.reject(patch.row, refusal)
    return doubts


def _check_cell(patch: Patch, known: KnownPatch, doubts: Doubts) -> Refusal:
    if patch.pixel_sha256 != known.pixel_sha256:
        return Refusal("duplicate-cell", f"Other pixels lie there already: {_title_known_patch(known)}.")
    if patch.label is None or patch.label == known.label:
        return Refusal("already-admitted", f"Admitted before: {_title_known_patch(known)}.")
    if known.label is None and not known.revised:
        doubts.labels.append((known, patch.label))
        return Refusal(
            "already-admitted",
            f"Admitted before without a label, which is taken from here: {_title_known_patch(known)}.",
        )
    if known.label is None:
        return Refusal(
            "already-admitted", f"Admitted before, and its label taken back since: {_title_known_patch(known)}."
        )
    return _refuse_doubtful(
        doubts,
        [known],
        Refusal("two-labels", f"Label {patch.label} here, label {known.label} before: {_title_known_patch(known)}."),
    )


def _check_pixels(hospital: Hospital, patch: Patch, same: Sequence[KnownPatch], doubts: Doubts) -> Refusal | None:
    others = [known for known in same if (known.hospital, known.patient) != (hospital, patch.patient)]
    if others:
        who = f"{hospital}/{patch.patient}"
        return _refuse_doubtful(
            doubts,
            others,
            Refusal("two-patients", f"The pixels of patient {who} are {_title_known_patch(others[0])}."),
        )
    others = [known for known in same if _labels_contradict([patch.label, known.label])]
    if others:
        message = f"Label {patch.label} here, label {others[0].label} of {_title_known_patch(others[0])}."
        return _refuse_doubtful(doubts, others, Refusal("two-labels", message))
    return None


def _refuse_doubtful(doubts: Doubts, known: Iterable[KnownPatch], refusal: Refusal) -> Refusal:
    doubts.conflicts.extend((one, refusal) for one in known)
    return refusal


def _title_known_patch(known: KnownPatch) -> str:
    place = f"slide {known.slide}, x {known.x}, y {known.y}"
    return f"patient {known.hospital}/{known.patient}, {place}, in batch {known.batch[:12]}"


def refuse_duplicates(findings: Findings) -> None:
    """Refuses files of one delivery that repeat or contradict each other, in the order of the rules."""
    for group in _group_by_cell(findings):
        _refuse_same_cell(findings, group)
    for check in (_refuse_two_patients, _refuse_two_labels):
        for group in _group_by_pixels(findings):
            check(findings, group)


def _group_by_cell(findings: Findings) -> Iterator[list[Patch]]:
    """Yields the patches that claim the same place, which lie beside each other."""
    standing = findings.standing()
    same = np.ones(max(len(standing) - 1, 0), bool)
    for column in (standing["patient"].cat.codes, standing["slide"].cat.codes, standing["x"], standing["y"]):
        values = column.to_numpy()
        same &= values[1:] == values[:-1]
    alike = np.zeros(len(standing), bool)
    alike[1:] |= same
    alike[:-1] |= same
    for _, group in groupby(_list_patches(findings, standing[alike]), key=attrgetter(*_CELL)):
        yield list(group)


def _group_by_pixels(findings: Findings) -> Iterator[list[Patch]]:
    """Yields the patches that have the same pixels."""
    standing = findings.standing()
    # Told by a quarter of the hash first: the whole hashes of millions would take as much memory as all else.
    beginnings = np.empty(len(standing), np.uint64)
    rows = standing["spool_row"].to_numpy()
    for start in range(0, len(rows), CHUNK):
        beginnings[start : start + CHUNK] = begin_digests(findings.pixel_digests[rows[start : start + CHUNK]])
    in_order = np.sort(beginnings)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    if not len(repeated):
        return
    del in_order
    places = np.flatnonzero(np.isin(beginnings, repeated))
    parts = np.ascontiguousarray(findings.pixel_digests[rows[places]]).view(np.uint64)
    alike = standing.iloc[places[np.lexsort(parts.T)]]
    # Not by frames of their own: the public archive holds each of its 277,524 patches twice.
    for _, group in groupby(_list_patches(findings, alike), key=attrgetter("pixel_sha256")):
        yield list(group)


def _list_patches(findings: Findings, rows: pd.DataFrame) -> Iterator[Patch]:
    columns = ("member", *_CELL, "label")
    for start in range(0, len(rows), CHUNK):
        part = rows.iloc[start : start + CHUNK]
        lists = (part[column].tolist() for column in columns)
        hashes = findings.pixel_hashes(part).tolist()
        for row, member, patient, slide, x, y, label, pixels in zip(part.index.tolist(), *lists, hashes, strict=True):
            yield Patch(row, member, patient, slide, x, y, None if label < 0 else label, pixels)


def _refuse_same_cell(findings: Findings, group: list[Patch]) -> None:
    if len({patch.pixel_sha256 for patch in group}) > 1:
        _refuse_contradicting(findings, group, "duplicate-cell", "Other pixels claim the same place")
    elif _labels_contradict(patch.label for patch in group):
        _refuse_contradicting(findings, group, "two-labels", "Has the same pixels and another label")
    else:  # copies: the first one that has a label stays
        group.sort(key=lambda patch: (patch.label is None, findings.names[patch.member]))
        for patch in group[1:]:
            findings.reject(patch.row, Refusal("duplicate-cell", f"A copy of {findings.names[group[0].member]}."))


def _refuse_two_patients(findings: Findings, group: list[Patch]) -> None:
    if len({patch.patient for patch in group}) > 1:
        _refuse_contradicting(
            findings, group, "two-patients", "Has the same pixels under another patient", by=_patient_of
        )


def _refuse_two_labels(findings: Findings, group: list[Patch]) -> None:
    if _labels_contradict(patch.label for patch in group):
        _refuse_contradicting(findings, group, "two-labels", "Has the same pixels and another label")


def _patient_of(patch: Patch) -> str:
    return patch.patient


def _refuse_contradicting(
    findings: Findings,
    group: Sequence[Patch],
    rule: str,
    reason: str,
    *,
    by: Callable[[Patch], object] = lambda patch: patch.row,
) -> None:
    """Refuses a group whose patches contradict each other; each is told of one that differs."""
    for patch in group:
        other = next(one for one in group if by(one) != by(patch))
        named = f" ({patch.patient} and {other.patient})" if by is _patient_of else ""
        findings.reject(patch.row, Refusal(rule, f"{reason}{named}: {findings.names[other.member]}."))


def _labels_contradict(labels: Iterable[int | None]) -> bool:
    return len({label for label in labels if label is not None}) > 1
