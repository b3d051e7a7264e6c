"""The index of a batch: what its rows say of each patch, its flags named, and the colours of its slides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.admission.findings import Findings, as_hex
from bcd.admission.pixels import FLAG_BIT, far_slides, optical_density
from bcd.admission.plan import UNLABELLED
from bcd.admission.slides.names import SlideName
from bcd.patches import Hospital, PatientId, SlideId
from bcd.store.batches import ROW_GROUP, BatchIndex
from bcd.store.known import StainRecord

if TYPE_CHECKING:
    import pandas as pd

SLIDE = ["patient", "slide"]
CHANNELS = ["red", "green", "blue"]


def make_batch_index(
    hospital: Hospital,
    findings: Findings,
    standing: pd.DataFrame,
    known: list[StainRecord],
    stains: list[StainRecord],
) -> BatchIndex:
    """Makes the index of a batch.

    Args:
        hospital: Where the patches came from.
        findings: What was found in the delivery.
        standing: The admitted rows of its patches.
        known: The colours of the slides of earlier batches.
        stains: The colours of this one's.

    Returns:
        The index in the order of `standing`; flags are their names, separated by spaces.
    """
    import pandas as pd

    far = find_far_slides(known, stains)

    def make_part(start: int, stop: int) -> pd.DataFrame:
        rows = standing.iloc[start:stop].reset_index(drop=True)
        return pd.DataFrame(
            {
                "hospital": pd.Series([hospital], dtype="str").repeat(len(rows)).reset_index(drop=True),
                "patient": rows["patient"].astype("str"),
                "slide": rows["slide"].astype("str"),
                "x": rows["x"].to_numpy().astype(np.int64),
                "y": rows["y"].to_numpy().astype(np.int64),
                "label": _make_nullable_labels(rows["label"].to_numpy()),
                "sha256": as_hex(findings.digests[rows["member"].to_numpy()]),
                "pixel_sha256": findings.pixel_hashes(rows),
                "flags": _name_flags(_flags_of(rows, far)),
            }
        )

    return BatchIndex(len(standing), make_part)


def count_delivered_flags(standing: pd.DataFrame, far: set[SlideName]) -> dict[str, int]:
    """Counts the patches with each flag that any has.

    Args:
        standing: The admitted rows of a delivery's patches.
        far: The slides among theirs whose stain is far from the others'.
    """
    flags = _flags_of(standing, far)
    counts = {flag: int(np.count_nonzero(flags & bit)) for flag, bit in FLAG_BIT.items()}
    return {flag: count for flag, count in counts.items() if count}


def measure_delivered_stains(standing: pd.DataFrame) -> list[StainRecord]:
    """Measures the mean optical density of each slide's patches."""
    stains = []
    for rows in _slides_together(standing):
        density = rows[SLIDE].copy()
        density[CHANNELS] = optical_density(rows[CHANNELS].to_numpy().astype(np.float64))
        grouped = density.groupby(SLIDE, observed=True)
        means, counts = grouped[CHANNELS].mean(), grouped.size()
        stains += [
            StainRecord(PatientId(str(patient)), SlideId(str(slide)), int(n), *(float(value) for value in row))
            for (patient, slide), row, n in zip(means.index, means.to_numpy(), counts, strict=True)
        ]
    return stains


def find_far_slides(known: list[StainRecord], stains: list[StainRecord]) -> set[SlideName]:
    """Finds the slides whose stain is far from those of earlier batches."""
    far = far_slides(_stack_stain_densities(known), _stack_stain_densities(stains))
    return {(stain.patient, stain.slide) for stain, is_far in zip(stains, far, strict=True) if is_far}


def _slides_together(standing: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yields rows in canonical order, some whole slides at a time."""
    codes = [standing[name].cat.codes.to_numpy() for name in SLIDE]
    differs = (codes[0][1:] != codes[0][:-1]) | (codes[1][1:] != codes[1][:-1])
    starts = np.append(np.flatnonzero(differs) + 1, len(standing))
    start = 0
    while start < len(standing):
        # Up to where a slide ends that is not much further than a part's length; one slide is never in two parts.
        stop = int(starts[np.searchsorted(starts, min(start + ROW_GROUP, len(standing)))])
        yield standing.iloc[start:stop]
        start = stop


def _flags_of(rows: pd.DataFrame, far: set[SlideName]) -> NDArray[np.uint8]:
    flags: NDArray[np.uint8] = rows["flags"].to_numpy()
    if not far:
        return flags
    is_far = np.fromiter(
        (slide in far for slide in zip(rows["patient"], rows["slide"], strict=True)), bool, len(rows)
    )
    return flags | (is_far * np.uint8(FLAG_BIT["stain"]))


def _stack_stain_densities(stains: list[StainRecord]) -> NDArray[np.float64]:
    return np.array([[stain.red, stain.green, stain.blue] for stain in stains]).reshape(-1, 3)


def _make_nullable_labels(labels: NDArray[np.int8]) -> Any:
    import pandas as pd

    missing = labels == UNLABELLED
    return pd.arrays.IntegerArray(np.where(missing, 0, labels).astype(np.int8), missing)


def _name_flags(flags: NDArray[np.uint8]) -> pd.Series[str]:
    import pandas as pd
    import pyarrow as pa

    names = [" ".join(flag for flag, bit in FLAG_BIT.items() if bits & bit) for bits in range(1 << len(FLAG_BIT))]
    return pd.Series(pa.array(names).take(pa.array(flags)), dtype="str")
