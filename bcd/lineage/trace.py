"""Tracing: what a person names, a patient, a report, a patch or a version, and all the links behind it.

Examples:
    >>> lineage = trace(store, "8867_idx5_x51_y1001", hospital="east")  # doctest: +SKIP
    >>> [link.kind for link in lineage.links][-1]  # doctest: +SKIP
    'report'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.bundle.rows import read_registered_versions
from bcd.errors import BcdError, NotFoundError
from bcd.files import hash_file
from bcd.lineage.link import PATCHES, Lineage, Link, keys_of
from bcd.lineage.model import trace_version
from bcd.lineage.patches import find_cell, list_traced_patches, trace_patches
from bcd.patches import Hospital, PatchName, PatientId
from bcd.scoring.result import REPORT, SCORES
from bcd.store import tables
from bcd.store.ledger import LedgerEntry, find_last_scoring, list_ledger
from bcd.store.objects import require
from bcd.store.patients import find_hospital, find_patient
from bcd.tracking.lookup import ALIASES, MODEL

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.store import Store

_PLACE = ["slide", "x", "y"]


def trace(store: Store, what: str, hospital: str = "") -> Lineage:
    """Traces what a person names.

    Args:
        store: The open store.
        what: A patient; a patch, by its file name; a report, by its file or folder; a version or an alias.
        hospital: The patient's hospital, where two know the identifier.

    Raises:
        BcdError: Nothing has that name, or both a patient and a version have it.
    """
    cell = PatchName.parse(what if what.lower().endswith(".png") else f"{what}.png")
    if cell is not None:
        return _trace_person(store, find_hospital(store, cell.patient, hospital or None), cell.patient, cell)
    entry = _find_report(store, what)
    if entry is not None:
        return _trace_person(store, entry.hospital, entry.patient, None, entry)
    version = "" if hospital else _find_version(store, what)
    if not version and (what in ALIASES or what.startswith(f"{MODEL}/")):
        raise NotFoundError(f"There is no {what} of {MODEL}.", "`bcd model list` lists the versions.")
    if version and (not what.isdigit() or not _is_patient(store, what)):
        return Lineage(f"Version {MODEL}/{version}", _each_once(trace_version(store, version)))
    if version:
        raise BcdError(
            f"{what} is a version of the model and a patient.",
            f"Name the version {MODEL}/{what}, or the patient's hospital with --hospital.",
        )
    place, _, name = what.rpartition("/")  # as tables show patients
    return _trace_person(store, *find_patient(store, name, hospital or place or None), None)


def _trace_person(
    store: Store, hospital: Hospital, patient: PatientId, cell: PatchName | None, entry: LedgerEntry | None = None
) -> Lineage:
    """Traces a patient, or one patch: from the files to a report, the newest where none is named."""
    patches = list_traced_patches(store, hospital, patient)
    if cell is not None and not find_cell(patches, cell).any():
        raise NotFoundError(
            f"Patient {hospital}/{patient} has no patch at slide {cell.slide}, x {cell.x}, y {cell.y}.",
            f"`bcd lineage {patient} --to FOLDER` lists the patient's patches in {PATCHES}.",
        )
    own = trace_patches(store, patches, cell)
    entry = entry or find_last_scoring(store, hospital, patient)
    of = f"patch {cell.format().removesuffix('.png')} of {hospital}" if cell else f"patient {hospital}/{patient}"
    if entry is None:
        unscored = Link(kind="report", name="none", previous=keys_of(own[-1:]), missing="Not scored so far.")
        return Lineage(of.capitalize(), (*own, unscored), patches)
    version = entry.bundle.rpartition("/")[2]
    model = trace_version(store, version, entry.at, (hospital, patient))
    scores = _read_scores(store, entry)
    kinds = {"labels", "batch" if cell is None else "patch"}
    shown = [link for link in own if link.kind in kinds and link.at is not None and link.at <= entry.at]
    report = _trace_report(store, entry, scores, cell, [*shown, *model[-1:]])
    if scores is not None:
        patches = patches.merge(scores[[*_PLACE, "probability"]], on=_PLACE, how="left")
    return Lineage(f"Report of {of}", _each_once([*own, *model, report]), patches)


def _trace_report(
    store: Store, entry: LedgerEntry, scores: pd.DataFrame | None, cell: PatchName | None, made_of: list[Link]
) -> Link:
    file = require(store.settings, store.settings.home / entry.folder) / REPORT
    is_there = file.is_file()
    facts = [f"Scored by {entry.bundle}; hash of patches, labels and options: {entry.content}."]
    if scores is not None:
        facts.append(f"{SCORES}: {len(scores):,} patches, SHA-256 {hash_file(file.with_name(SCORES))}.")
        if cell is not None:
            facts.append(_tell_score(scores, cell))
    return Link(
        kind="report",
        name=entry.folder,
        sha256=hash_file(file) if is_there else "",
        hash_of=REPORT if is_there else "",
        at=entry.at,
        by=entry.bundle,
        facts=tuple(facts),
        where=f"{entry.folder}/{REPORT}" if is_there else "",
        previous=keys_of(made_of),
        missing="" if is_there else "The report was removed or erased; that the patient was scored stays recorded.",
    )


def _tell_score(scores: pd.DataFrame, cell: PatchName) -> str:
    rows = scores[find_cell(scores, cell)]
    if rows.empty:
        return "The patch was admitted after this report, which does not show it."
    return f"Its probability in this report: {rows['probability'].iloc[0]:.4f}."


def _read_scores(store: Store, entry: LedgerEntry) -> pd.DataFrame | None:
    import pandas as pd

    file = require(store.settings, store.settings.home / entry.folder) / SCORES
    return pd.read_parquet(file) if file.is_file() else None


def _find_report(store: Store, what: str) -> LedgerEntry | None:
    """Finds the entry of the ledger of a report that is named by its file or folder; None: it is no report's name.

    Raises:
        BcdError: It is a path to something that no entry of the ledger speaks of.
    """
    if what.count("/") < 2 and not Path(what).is_file():  # east/8867 is a patient, bcd-idc/3 a version
        return None
    path = Path(what) if Path(what).is_absolute() else store.settings.home / what
    if not path.exists() and Path(what).exists():
        path = Path(what).absolute()
    folder = path.parent if path.name == REPORT else path
    entries = [one for one in list_ledger(store) if one.status == "scored"]
    found = [one for one in entries if store.settings.home / one.folder == folder]
    if found:
        return found[0]
    raise NotFoundError(
        f"{what} is no report of an admitted patient: the ledger names no such folder.",
        "Name a patient, or a report as scores/HOSPITAL/PATIENT/BUNDLE-CONTENT; `bcd status` lists the last ones.",
    )


def _find_version(store: Store, what: str) -> str:
    """Returns the version that a number, `bcd-idc/3` or an alias names; empty: none, and no decision names it."""
    name = what.removeprefix(f"{MODEL}/")
    rows = read_registered_versions(store.settings)
    found = next((row.version for row in rows if row.version == name or name in row.aliases), "")
    if found or not name.isdigit():
        return found
    column = tables.gate_decisions.c.challenger
    decided = store.rows(sa.select(column).where(column == name).limit(1))
    scored = store.rows(sa.select(tables.ledger.c.bundle).where(tables.ledger.c.bundle == f"{MODEL}/{name}").limit(1))
    return name if decided or scored else ""


def _is_patient(store: Store, what: str) -> bool:
    column = tables.patients.c.patient
    return bool(store.rows(sa.select(column).where(column == what).limit(1)))


def _each_once(links: list[Link]) -> tuple[Link, ...]:
    """Returns each link once: of a batch, the one that speaks of the patient's own files comes first and stays."""
    found: dict[str, Link] = {}
    for link in links:
        found.setdefault(link.key, link)
    return tuple(found.values())
