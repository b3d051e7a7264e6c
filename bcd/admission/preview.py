"""A look at a delivery that is not to be admitted: read by admission's rules, and nothing of it is kept.

Examples:
        with look_at(Path("delivery.zip"), Hospital("west")) as delivery:
            scores = bundle.score(delivery.pixels[delivery.rows])
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.beside import apply_delivered_labels
from bcd.admission.cut import cut_slides
from bcd.admission.declared import read_declarations
from bcd.admission.delivery import check_names
from bcd.admission.duplicates import refuse_duplicates
from bcd.admission.examine import examine_files
from bcd.admission.findings import commonest_rule, count_rules
from bcd.admission.index import make_batch_index
from bcd.admission.naming import Naming
from bcd.admission.plan import plan_admission
from bcd.admission.rules import DeliveryError
from bcd.admission.slides.names import SlideName
from bcd.admission.sources.open import open_source
from bcd.options import Microns
from bcd.patches import Hospital, Slide
from bcd.store.frames import Frame
from bcd.store.spool import Spool

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SeenDelivery:
    """A delivery as admission would read it, for as long as it is open.

    Attributes:
        name: What it is called.
        files: Files in it.
        patches: hospital, patient, slide (text), x, y (int64), label (Int8, NA where there is none), pixel_sha256 of
            every good patch, in canonical order.
        pixels: Pixels, (rows, 50, 50, 3) uint8 RGB, mapped from a temporary file.
        rows: The row of `pixels` of each patch, shape (n,).
        refused: Files by the rule that they break.
        reasons: Why each of those was refused, as `FILE: reason`.
        frames: Of the slides that were cut, by patient and slide.
        complete: Slides that were cut whole, or that a table beside them declares complete.
        label_notes: Rows of its tables of labels that name no patch, and why a table was refused.
    """

    name: str
    files: int
    patches: pd.DataFrame
    pixels: NDArray[np.uint8]
    rows: NDArray[np.intp]
    refused: dict[str, int]
    reasons: list[str]
    frames: dict[SlideName, Frame]
    complete: frozenset[Slide]
    label_notes: list[str]


@contextmanager
def look_at(
    path: Path,
    hospital: Hospital,
    *,
    naming: Naming | None = None,
    spacing: Microns | None = None,
    any_name: bool = False,
) -> Iterator[SeenDelivery]:
    """Opens a delivery, reads it, and forgets it with the block; neither store nor catalog is touched.

    What earlier batches hold is not compared with: `already-admitted` and `withdrawn` are rules of the store.

    Args:
        path: A folder, an archive or a slide.
        hospital: Where it comes from.
        naming: How its patients are called; None: as the delivery calls them.
        spacing: In µm per pixel, for slides that do not say it, or to confirm what they say.
        any_name: Whether slides may have any name.

    Raises:
        BcdError: It cannot be opened, or nothing in it is admissible.
    """
    naming = naming or Naming(None)
    with tempfile.TemporaryDirectory(prefix="bcd-look-") as scratch, open_source(path, Path(scratch)) as source:
        if not (any_name and len(source.names) == 1):
            check_names(path, source.names)
        spool = Spool(Path(scratch))
        try:
            declared = read_declarations(source, naming, Path(scratch))
            title = path.resolve().name if path.is_dir() else ""
            plan = plan_admission(source, naming, declared=declared, title=title, any_name=any_name)
            findings = examine_files(source, plan, spool)
            cut_slides(source, plan, findings, spool, scratch=Path(scratch), spacing=spacing)
            apply_delivered_labels(
                source, findings, plan.tables, hospital=hospital, naming=naming, scratch=Path(scratch)
            )
            refuse_duplicates(findings)
            standing, refusals = findings.standing(), findings.refusals()
            refused = count_rules(refusals)
            if standing.empty:
                reason = findings.explain(naming.show_title(path.name), refusals)
                raise DeliveryError(commonest_rule(refused), reason)
            present = set(zip(standing["patient"], standing["slide"], strict=True))
            yield SeenDelivery(
                name=naming.show_title(path.name),
                files=findings.files,
                patches=make_batch_index(hospital, findings, standing, [], []).part(0, len(standing)),
                pixels=spool.finish(),
                rows=standing["spool_row"].to_numpy().astype(np.intp),
                refused=refused,
                reasons=[f"{findings.names[member]}: {one.message}" for member, one in refusals.items()],
                frames={(one.patient, one.slide): one.frame for one in findings.frames},
                complete=frozenset(
                    (hospital, one.patient, one.slide) for one in findings.complete if one[:2] in present
                ),
                label_notes=findings.label_notes
                + [one.message for one in findings.refused.values() if one.rule == "labels-file"],
            )
        finally:
            spool.close()
