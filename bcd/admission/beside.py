"""Labels beside the patches: a `labels.csv` or `labels.parquet` in the delivery, as `bcd labels import` reads them.

It labels what no name labels, slides' patches too. A table that cannot be read whole is refused, and the patches are
admitted without its labels, which can follow by `bcd labels import`.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bcd.admission.findings import Findings
from bcd.admission.naming import Naming
from bcd.admission.plan import UNLABELLED
from bcd.admission.rules import Refusal
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.errors import BcdError
from bcd.progress import say
from bcd.store.label_files import read_labels

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 512 << 20
"""A larger table is refused; that of the whole public set has 10 MiB."""

CELL = ["patient", "slide", "x", "y"]


def apply_labels(source: Source, naming: Naming, findings: Findings, members: list[int], scratch: Path) -> None:
    """Labels the unlabelled patches by the delivery's tables; refuses patches whose name says another label.

    Args:
        source: The delivery.
        naming: How its patients are called.
        findings: What was found so far.
        members: Its tables of labels.
        scratch: Folder for a copy of a table.
    """
    for member in members:
        table = findings.names[member]
        try:
            labels = _read(source, member, findings, scratch)
            said = _match(findings.patches, labels, naming)
        except BcdError as error:
            findings.refused[member] = Refusal("labels-file", error.what)
        except UnreadableFileError as error:
            findings.refused[member] = Refusal(error.rule, f"The file cannot be read: {error}.")
        else:
            _label(findings, said, table)
            if len(labels) > (said != UNLABELLED).sum():
                say(
                    f"{table} labels {len(labels):,} patches; {int((said != UNLABELLED).sum()):,} are delivered here."
                )


def _read(source: Source, member: int, findings: Findings, scratch: Path) -> pd.DataFrame:
    if source.size(member) > MAX_BYTES:
        raise BcdError(f"The table has more than {MAX_BYTES >> 20} MiB.", "Hand it over in parts.")
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="labels-") as folder:
        path = Path(folder, PurePosixPath(source.names[member]).name.lower())
        source.copy(member, path)
        findings.digests[member] = np.frombuffer(hashlib.sha256(path.read_bytes()).digest(), np.uint8)
        labels = read_labels(path)
    given = labels[labels["label"].notna()].drop_duplicates([*CELL, "label"])
    twice = given[given.duplicated(CELL)]
    if len(twice):
        raise BcdError(
            f"The table labels {len(twice):,} patches twice, the first in line {twice['line'].iloc[0]}.", ""
        )
    return given


def _match(patches: pd.DataFrame, labels: pd.DataFrame, naming: Naming) -> np.ndarray:
    """Returns the label that a table says of each patch, int8; UNLABELLED where it says none."""
    text = {"patient": "str", "slide": "str", "x": "int64", "y": "int64"}
    named = labels.assign(patient=labels["patient"].map(naming.patient))[[*CELL, "label"]].astype(text)
    said = patches[CELL].astype(text).merge(named, on=CELL, how="left")["label"]
    return said.fillna(UNLABELLED).to_numpy().astype(np.int8)


def _label(findings: Findings, said: np.ndarray, table: str) -> None:
    old = findings.patches["label"].to_numpy()
    for row in np.flatnonzero((said != UNLABELLED) & (old != UNLABELLED) & (old != said)).tolist():
        refusal = Refusal("folder", f"{table} says label {said[row]}, the name or folder {old[row]}.")
        findings.contradicted[row] = refusal
    findings.patches["label"] = np.where(old == UNLABELLED, said, old)
