"""What is stored of patches that a person may be asked about: their scores, their labels as they stand, their split.

Nobody is asked about a patient of val, gate or test (`bcd.store.asked`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.bundle.registry import read_bundle
from bcd.bundle.rows import read_registered_versions
from bcd.bundle.seen import find_seen_by_bundle
from bcd.errors import DamagedError, InsufficientEvidenceError, NotFoundError
from bcd.evaluation.policy.context import CONTEXT
from bcd.patches import CANONICAL, CELL, PERSON, Person, lie_on, patient_keys
from bcd.review.queue import value_patches
from bcd.review.suspicious import AGAINST, rank_labels
from bcd.scoring.result import SCORES, SPREAD
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.splits import reserve_patients_for_train
from bcd.store import tables
from bcd.store.asked import asked_patches, read_dealt_patients
from bcd.store.complete import complete_slides
from bcd.store.conflicts import open_conflicts
from bcd.store.labels import latest_labels
from bcd.store.ledger import LedgerEntry, list_ledger
from bcd.store.matching import find_matched_rows
from bcd.store.objects import read_stored
from bcd.store.patients import withdrawn_patients

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.store import Store

_SCORED = [*CELL, "probability", CONTEXT, SPREAD]


@dataclass(frozen=True)
class Gathered:
    """Patches that a person may be asked about.

    Attributes:
        patches: hospital, patient, slide, x, y, label (Int8, as it stands), probability, context_probability, spread,
            bundle (name of what scored it), value, and what the value is made of; in canonical order, or ranked.
        stored: All patches of the store, as `_read_stored_patches` returns them.
        left_out: How many scored patches are not asked about, by reason, in sentences.
    """

    patches: pd.DataFrame
    stored: pd.DataFrame
    left_out: dict[str, int]


def gather_unlabelled(store: Store) -> Gathered:
    """Gathers the patches without a label that the champion has scored, with their value.

    Patients who have neither a label nor a split are dealt first (`reserve_patients_for_train`).

    Raises:
        BcdError: There is no champion, or it has scored nobody.
    """
    champion = next((row.name for row in read_registered_versions(store.settings) if "champion" in row.aliases), None)
    if champion is None:
        raise NotFoundError("There is no champion, whose scores would choose.", "`bcd retrain` makes one.")
    reserve_patients_for_train(store, store.settings.options("splits", SplitOptions))
    stored = _read_stored_patches(store)
    scores = _read_scores(store, _find_latest(entry for entry in list_ledger(store) if entry.bundle == champion))
    if scores.empty:
        raise InsufficientEvidenceError(f"{champion} has scored nobody.", "Score first: `bcd score`.")
    scores = value_patches(stored.merge(scores, on=CELL))
    why = {
        "have a label": scores["label"].notna(),
        "were answered before without a label, or are in doubt": scores["is_settled"],
        "are of patients without a split, whom a retraining deals once they have labels": scores["split"] == "",
        "are of val, gate or test patients, who are not asked about": scores["split"] != "train",
    }
    return _leave_out(scores, stored, why)


def gather_labelled(store: Store) -> Gathered:
    """Gathers labelled patches of train patients that a model contradicts which never saw the patient; ranked.

    Of each patient the scores of the newest such model count.

    Raises:
        BcdError: No train patient was scored by such a model.
    """
    stored = _read_stored_patches(store)
    labelled = stored[stored["label"].notna() & (stored["split"] == "train")]
    scores = _read_scores(store, _find_unseen(store, labelled))
    if scores.empty:
        raise InsufficientEvidenceError(
            "No train patient has scores of a model that never saw the patient.",
            "Whoever is scored before a retraining learns from them has some: run `bcd score` after each delivery. In"
            " a home without a champion, the model that comes with bcd scores the first patients: `bcd model adopt"
            " released --by NAME --reason TEXT`, then `bcd score`.",
        )
    ranked = rank_labels(labelled.merge(scores, on=CELL))
    why = {
        "were answered before, or are in doubt": ranked["is_settled"],
        "have the label that the model says": ranked["value"] < AGAINST,
    }
    return _leave_out(ranked, stored, why)


def _leave_out(scores: pd.DataFrame, stored: pd.DataFrame, why: dict[str, pd.Series[bool]]) -> Gathered:
    """Leaves patches out for the first reason that each has, and counts them."""
    left_out: dict[str, int] = {}
    kept = scores
    for reason, applies in why.items():
        is_out = applies.loc[kept.index].to_numpy(bool)
        if is_out.any():
            left_out[reason] = int(is_out.sum())
        kept = kept[~is_out]
    return Gathered(kept.reset_index(drop=True), stored, left_out)


def _read_stored_patches(store: Store) -> pd.DataFrame:
    """Reads all patches of patients who have not withdrawn, in canonical order.

    Returns:
        hospital, patient, slide, x, y, label (Int8); batch and row, where the pixels are; pixel_sha256; complete,
        whether all patches of the slide are there; split, as `read_dealt_patients` says, empty where there is none;
        and is_settled: a person answered about the patch, or it is in doubt, which `bcd label doubts` shows.
    """
    import pandas as pd

    labels = latest_labels().subquery()
    columns = [*CELL, "label", "row", "pixel_sha256"]
    query = sa.select(*(labels.c[name] for name in columns), tables.batches.c.id.label("batch")).join(
        tables.batches, tables.batches.c.number == labels.c.batch
    )
    with store.read() as connection:
        stored = pd.DataFrame(map(tuple, connection.execute(query)), columns=[*columns, "batch"])
        settled = [tuple(row) for each in (asked_patches(), open_conflicts()) for row in connection.execute(each)]
        dealt, gone, complete = (
            read_dealt_patients(connection),
            withdrawn_patients(connection),
            complete_slides(connection),
        )
    stored = stored.sort_values(CANONICAL, ignore_index=True)  # databases differ in how they order text
    people = list(zip(stored["hospital"], stored["patient"], strict=True))
    stored = stored.astype({"label": "Int8"}).assign(
        split=[dealt.get(one, "") for one in people],
        complete=lie_on(stored, complete),
        is_settled=find_matched_rows(stored, pd.DataFrame(settled, columns=CELL)) if settled else False,
    )
    return stored[[one not in gone for one in people]].reset_index(drop=True)


def _find_latest(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Returns the first entry of each patient that was scored, of entries with the newest first."""
    found: dict[Person, LedgerEntry] = {}
    for entry in entries:
        if entry.status == "scored":
            found.setdefault((entry.hospital, entry.patient), entry)
    return list(found.values())


def _find_unseen(store: Store, labelled: pd.DataFrame) -> list[LedgerEntry]:
    """Finds for each patient the scores of the newest bundle that saw neither the patient nor their pixels."""
    by_bundle: dict[str, list[LedgerEntry]] = {}
    for entry in list_ledger(store):
        by_bundle.setdefault(entry.bundle, []).append(entry)
    waiting = labelled[[*PERSON, "pixel_sha256"]]
    found: list[LedgerEntry] = []
    for row in reversed(read_registered_versions(store.settings)):
        scored = {(one.hospital, one.patient): one for one in _find_latest(by_bundle.get(row.name, []))}
        mine = waiting[[one in scored for one in zip(waiting["hospital"], waiting["patient"], strict=True)]]
        if mine.empty:
            continue
        try:
            seen = find_seen_by_bundle(store.settings, read_bundle(store.settings, row.version))
        except (NotFoundError, DamagedError):  # nobody knows any more who it saw: its snapshot was removed
            continue
        fresh = mine[~patient_keys(mine).isin(seen.find(mine))]
        people = set(zip(fresh["hospital"], fresh["patient"], strict=True))
        found += [scored[one] for one in sorted(people)]
        waiting = waiting[[one not in people for one in zip(waiting["hospital"], waiting["patient"], strict=True)]]
    return found


def _read_scores(store: Store, entries: Iterable[LedgerEntry]) -> pd.DataFrame:
    """Reads the stored scores of entries whose folder is there, with the name of the bundle."""
    import pandas as pd

    found = []
    for entry in entries:
        with suppress(FileNotFoundError):  # removed with its version
            scores = read_stored(store.settings, store.settings.home / entry.folder, SCORES)
            found.append(pd.read_parquet(BytesIO(scores)).reindex(columns=_SCORED).assign(bundle=entry.bundle))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*_SCORED, "bundle"])
