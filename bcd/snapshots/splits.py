"""Splits: each patient is dealt to train, val, gate or test once, and that is recorded for ever.

`dealt` takes the labelled new patients of a batch in the order of a keyed hash and deals each to the split
furthest below its share, so that small hospitals fill every split too. The other protocols fix the split of some
patients, by the published lists of the public IDC set (`bcd.snapshots.protocols`) or by hospital, and deal the rest:

| protocol | train | val | gate | test | excluded |
| --- | --- | --- | --- | --- | --- |
| `cruz-roa-2014` | published train | published val | unlisted | published test | |
| `cruz-roa-2014-dev` | .70 of published train and unlisted | .15 | .15 | published val | published test |
| `leave-one-hospital-out` | .70 of the other hospitals | .15 | .15 | the hospital held out | |

A patient of whom a snapshot could take no patch (no label, withdrawn, or in doubt) waits: dealing one would fill a
seat with nothing to learn from.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.resources import files

import sqlalchemy as sa

from bcd.errors import NotFoundError
from bcd.patches import Hospital, PatientId, Person
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.asked import read_asked_patients
from bcd.store.conflicts import open_conflicts
from bcd.store.labels import latest_labels, match_patch_rows, match_patient_rows
from bcd.store.store import Store

__all__ = [
    "EXCLUDED",
    "SPLITS",
    "SplitOptions",
    "deal_patients",
    "deal_splits",
    "deal_splits_and_record",
    "pick_split_below_share",
    "published_list",
    "reserve_patients_for_train",
    "split_of",
    "split_shares",
    "suggest_protocol",
]

SPLITS = ("train", "val", "gate", "test")
"""The splits a model may see or be evaluated on."""

EXCLUDED = "excluded"
"""The split of patients that a protocol keeps out of every snapshot."""

TEST_IS_FIXED = {"train": 0.7, "val": 0.15, "gate": 0.15}
"""Shares among the patients that are dealt where the protocol itself says who is test."""

_RECOGNISED = 10  # patients of a published list


@cache
def published_list(name: str) -> frozenset[str]:
    """Returns a published patient list: `train`, `val` or `test`."""
    text = (files("bcd.snapshots.protocols") / f"cruz-roa-2014-{name}.txt").read_text("ascii")
    return frozenset(text.split())


def suggest_protocol(patients: Iterable[str]) -> str:
    """Returns the protocol that suits these patients: the public set's own where they are of that set.

    Without its test patients, the published val patients are the test split.
    """
    given = set(patients)
    has_val, has_test = (len(published_list(name) & given) >= _RECOGNISED for name in ("val", "test"))
    if not has_val:
        return "dealt"
    return "cruz-roa-2014" if has_test else "cruz-roa-2014-dev"


def deal_splits(store: Store, options: SplitOptions) -> int:
    """Deals every patient who has no split under this protocol yet and a patch to learn from, batch after batch.

    Returns:
        Number of patients dealt.

    Raises:
        BcdError: The hospital to hold out has no patient here.
    """
    with store.write() as connection:
        return deal_splits_and_record(connection, options)


def deal_splits_and_record(connection: sa.Connection, options: SplitOptions) -> int:
    """Does what `deal_splits` does, inside a transaction that writes."""
    protocol = options.recorded_as
    _require_held_out(connection, options)
    waiting = _list_patients_to_deal(connection, protocol)
    counts = _count_dealt_patients(connection, protocol) if waiting else {}
    return _record_splits(
        connection, protocol, deal_patients(waiting, options, counts, asked=read_asked_patients(connection))
    )


def reserve_patients_for_train(store: Store, options: SplitOptions) -> int:
    """Sets patients apart for train who have neither a label nor a split, so that they may be asked about.

    A keyed coin decides, with the share of train, before anybody looks at what a model says of them: were the scores
    to choose who is asked about and so becomes train, those left for the other splits would be the easy ones. Where
    the protocol itself says who is what, it decides. Recorded for ever; they take nobody's seat until they have a
    label.

    Returns:
        Number of patients set apart.
    """
    with store.write() as connection:
        _require_held_out(connection, options)
        chosen = [
            (patient, "train")
            for patient in _list_unlabelled_patients(connection, options.recorded_as)
            if _is_reserved(options, *patient)
        ]
        return _record_splits(connection, options.recorded_as, chosen)


def _is_reserved(options: SplitOptions, hospital: Hospital, patient: PatientId) -> bool:
    if fixed := _find_fixed_split(options, hospital, patient):
        return fixed == "train"
    drawn = int.from_bytes(_place_in_deal(f"{options.key} train", hospital, patient)[:8]) / 2**64
    return drawn < split_shares(options)["train"]


def _record_splits(connection: sa.Connection, protocol: str, dealt: Iterable[tuple[Person, str]]) -> int:
    rows = [
        {"protocol": protocol, "hospital": hospital, "patient": patient, "split": split}
        for (hospital, patient), split in dealt
    ]
    if rows:
        connection.execute(sa.insert(tables.splits), rows)
    return len(rows)


def _count_dealt_patients(connection: sa.Connection, protocol: str) -> dict[str, int]:
    """Counts the patients of each split, without those who are set apart for train and have no label yet."""
    dealt, labels = tables.splits.c, latest_labels().subquery()
    is_labelled = sa.exists().where(match_patient_rows(labels, tables.splits), labels.c.label.is_not(None))
    query = (
        sa.select(dealt.split, sa.func.count())
        .where(dealt.protocol == protocol, sa.or_(dealt.split != "train", is_labelled))
        .group_by(dealt.split)
    )
    return dict(connection.execute(query).tuples().all())


def deal_patients(
    batches: Iterable[Iterable[Person]],
    options: SplitOptions,
    counts: Mapping[str, int],
    *,
    asked: Collection[Person] = (),
) -> list[tuple[Person, str]]:
    """Deals patients to splits; touches no catalog.

    Args:
        batches: The patients to deal, by the batch that brought them first; within one, their order is of no weight.
        options: The protocol, the shares and the key.
        counts: Number of patients dealt before, by split.
        asked: Those of whom a model's scores chose patches to be labelled: they may train and nothing else
            (`bcd.store.asked`), and are kept out where the protocol wants them elsewhere.

    Returns:
        Each patient with the split.
    """
    shares = split_shares(options)
    counts = Counter(counts)
    dealt = []
    for batch in batches:
        for patient in sorted(batch, key=lambda one: _place_in_deal(options.key, *one)):
            split = _find_fixed_split(options, *patient)
            if patient in asked:
                split = "train" if split in {None, "train"} else EXCLUDED
            split = split or pick_split_below_share(shares, counts)
            counts[split] += 1
            dealt.append((patient, split))
    return dealt


def pick_split_below_share(shares: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """Returns the split that the next patient goes to: furthest below its share, the first on a tie."""
    total = sum(counts.get(split, 0) for split in shares) + 1
    return max(shares, key=lambda split: round(shares[split] * total - counts.get(split, 0), 9))


def split_shares(options: SplitOptions) -> dict[str, float]:
    """Returns the share that each split gets of the patients that a protocol deals; none where it deals nobody."""
    if options.protocol == "cruz-roa-2014":
        return {}
    if options.protocol in {"cruz-roa-2014-dev", "leave-one-hospital-out"}:
        return TEST_IS_FIXED
    return {split: float(getattr(options, split)) for split in SPLITS}


def split_of(store: Store, protocol: str, hospital: Hospital, patient: PatientId) -> str | None:
    """Returns a patient's split under a protocol: one of SPLITS, `excluded`, or None where not dealt."""
    dealt = tables.splits.c
    query = sa.select(dealt.split).where(
        dealt.protocol == protocol, dealt.hospital == hospital, dealt.patient == patient
    )
    with store.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def _require_held_out(connection: sa.Connection, options: SplitOptions) -> None:
    if options.protocol != "leave-one-hospital-out":
        return
    known = connection.scalars(sa.select(tables.patients.c.hospital).distinct()).all()
    if options.held_out not in known:
        raise NotFoundError(
            f"Hospital {options.held_out}, which leave-one-hospital-out is to hold out, has no patient in the store.",
            f"Name one of {', '.join(sorted(known))} as held_out, or admit its deliveries first."
            if known
            else "Admit its deliveries first.",
        )


def _list_patients_to_deal(connection: sa.Connection, protocol: str) -> list[list[Person]]:
    """Returns the patients to deal, by the batch that brought them first."""
    known, dealt = tables.patients.c, tables.splits.c
    undealt = (
        sa.select(known.first_batch, known.hospital, known.patient)
        .outerjoin(
            tables.splits, sa.and_(dealt.protocol == protocol, match_patient_rows(tables.splits, tables.patients))
        )
        .where(dealt.split.is_(None))
        .order_by(known.first_batch)
    )
    waiting = connection.execute(undealt).tuples().all()
    usable = set(connection.execute(_usable_patients()).tuples()) if waiting else set()
    batches: dict[int, list[Person]] = {}
    for number, hospital, patient in waiting:
        if (hospital, patient) in usable:
            batches.setdefault(number, []).append((hospital, patient))
    return list(batches.values())


def _list_unlabelled_patients(connection: sa.Connection, protocol: str) -> list[Person]:
    """Returns the patients without a label, who are not withdrawn, and whom the protocol has not dealt."""
    known, dealt, gone, labels = tables.patients, tables.splits, tables.withdrawn, latest_labels().subquery()
    is_labelled = sa.exists().where(match_patient_rows(labels, known), labels.c.label.is_not(None))
    is_dealt = sa.exists().where(match_patient_rows(dealt, known), dealt.c.protocol == protocol)
    is_withdrawn = sa.exists().where(match_patient_rows(gone, known))
    query = sa.select(known.c.hospital, known.c.patient).where(~is_labelled, ~is_dealt, ~is_withdrawn)
    return list(connection.execute(query).tuples())


def _usable_patients() -> sa.Select[Person]:
    """Returns the query for patients of whom a snapshot may take a patch."""
    labels, doubts = latest_labels().subquery(), open_conflicts().subquery()
    gone = tables.withdrawn.c
    return (
        sa.select(labels.c.hospital, labels.c.patient)
        .outerjoin(doubts, match_patch_rows(doubts, labels))
        .outerjoin(tables.withdrawn, match_patient_rows(tables.withdrawn, labels))
        .where(labels.c.label.is_not(None), doubts.c.patient.is_(None), gone.patient.is_(None))
        .distinct()
    )


def _place_in_deal(key: str, hospital: Hospital, patient: PatientId) -> bytes:
    return hmac.digest(key.encode(), f"{hospital}/{patient}".encode(), hashlib.sha256)


def _find_fixed_split(options: SplitOptions, hospital: Hospital, patient: PatientId) -> str | None:
    """Returns the split that a protocol itself gives a patient; None where the patient is dealt."""
    if options.protocol == "leave-one-hospital-out":
        return "test" if hospital == options.held_out else None
    if options.protocol == "cruz-roa-2014":
        named = (split for split in ("train", "val", "test") if patient in published_list(split))
        return next(named, "gate")
    if options.protocol == "cruz-roa-2014-dev":
        if patient in published_list("val"):
            return "test"
        return EXCLUDED if patient in published_list("test") else None
    return None
