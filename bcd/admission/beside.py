"""Labels beside the patches: a table `labels.csv` in the delivery, read and matched as `bcd label import` does.

It labels what no name labels, slides' patches too. A table that cannot be read whole, or of which no row names a
patch, is refused, and the patches are admitted without its labels, which can follow by `bcd label import`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bcd.admission.findings import Findings
from bcd.admission.naming import Naming
from bcd.admission.plan import UNLABELLED
from bcd.admission.rules import Refusal
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.errors import BcdError
from bcd.files import partial_folder
from bcd.patches import CELL, Hospital
from bcd.progress import say_progress
from bcd.store.deliveries import Delivery
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.label_files import Call, read_label_table
from bcd.store.matching import find_matched_rows, match_table_rows
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

_ALONE = "It is a table of labels, and no patch or slide that can be admitted lies beside it."

MAX_BYTES = 512 << 20
"""A larger table is refused; that of the whole public set has 10 MiB."""


def apply_delivered_labels(
    source: Source, findings: Findings, members: list[int], *, hospital: Hospital, naming: Naming, scratch: Path
) -> None:
    """Labels the unlabelled patches by the delivery's tables; refuses patches whose name says another label.

    Args:
        source: The delivery.
        findings: What was found so far.
        members: Its tables of labels.
        hospital: Where it comes from.
        naming: How its patients are called.
        scratch: Folder for a copy of a table.
    """
    call = _call_delivered_patients(naming, findings.patches)
    is_alone = findings.patches.empty
    for member in members:
        try:
            with _copy_label_table(source, member, findings, scratch) as path:
                if is_alone:
                    findings.refused[member] = Refusal("labels-alone", _ALONE)
                    continue
                labels = read_label_table(path, hospital, call)
            _apply_label_table(findings, labels, source.names[member], hospital, call)
        except BcdError as error:
            findings.refused[member] = Refusal("labels-file", f"{error.what} {error.fix}")
            say_progress(error.what)
        except UnreadableFileError as error:
            findings.refused[member] = Refusal(error.rule, f"The file cannot be read: {error}.")


def describe_delivered_labels(store: Store, record: Delivery) -> list[str]:
    """Says in sentences how a delivery's tables of labels and its patches fit together; nothing where it has none."""
    lines = [each.message for each in list_stored_refusals(store, record.id) if each.rule == "labels-file"]
    if record.label_note:
        lines.insert(0, record.label_note)
    if lines or record.label_rows:
        rows = f"{record.unmatched_rows:,} of {record.label_rows:,} rows name no patch; " if record.label_rows else ""
        lines.insert(0, f"Labels: {rows}{record.unlabelled:,} of {record.admitted:,} patches are without a label.")
    return lines


@contextmanager
def _copy_label_table(source: Source, member: int, findings: Findings, scratch: Path) -> Iterator[Path]:
    """Copies a table out of the delivery for the time of the block, and hashes it."""
    if source.size(member) > MAX_BYTES:
        raise BcdError(f"The table has more than {MAX_BYTES >> 20} MiB.", "Hand it over in parts.")
    with partial_folder(scratch) as folder:  # what a killed process leaves goes with the next
        path = folder.joinpath(PurePosixPath(source.names[member]).name.lower())
        source.copy(member, path)
        findings.digests[member] = np.frombuffer(hashlib.sha256(path.read_bytes()).digest(), np.uint8)
        yield path


def _apply_label_table(findings: Findings, labels: pd.DataFrame, table: str, hospital: Hospital, call: Call) -> None:
    name = PurePosixPath(table).name
    types = {"patient": "str", "slide": "str", "x": "int64", "y": "int64"}
    patches = findings.patches[CELL[1:]].astype(types).assign(hospital=str(hospital))
    is_found = find_matched_rows(labels, patches)
    findings.label_rows += len(labels)
    findings.unmatched_rows += int((~is_found).sum())
    match = match_table_rows(name, "this delivery", labels, patches, is_found=is_found, call=call)
    if match.note:
        findings.label_notes.append(match.note)
        say_progress(match.note)
    given = labels.loc[labels["label"].notna(), [*CELL, "label"]].drop_duplicates(CELL)
    said = patches.merge(given, on=CELL, how="left")["label"].fillna(UNLABELLED).to_numpy().astype(np.int8)
    _label_findings(findings, said, table)


def _call_delivered_patients(naming: Naming, patches: pd.DataFrame) -> Call:
    """Returns how the store will call patients; a table of a raw hospital may call them so already."""
    delivered = set(patches["patient"].unique())

    def call(_: str, identifiers: Collection[str]) -> Mapping[str, str] | None:
        if not naming.hides:
            return None
        return {one: one if one in delivered else naming.patient(one) for one in identifiers}

    return call


def _label_findings(findings: Findings, said: np.ndarray, table: str) -> None:
    old = findings.patches["label"].to_numpy()
    for row in np.flatnonzero((said != UNLABELLED) & (old != UNLABELLED) & (old != said)).tolist():
        refusal = Refusal("folder", f"{table} says label {said[row]}, the name or folder {old[row]}.")
        findings.contradicted[row] = refusal
    findings.patches["label"] = np.where(old == UNLABELLED, said, old)
