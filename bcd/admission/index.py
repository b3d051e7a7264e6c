"""The index of a batch: what its rows say of each patch, its flags named, and the colours of its slides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.admission.examine import as_hex
from bcd.admission.findings import Findings
from bcd.admission.pixels import FLAG_BIT, far_slides, optical_density
from bcd.admission.plan import UNLABELLED
from bcd.patches import Hospital
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
) -> pd.DataFrame:
    """Makes the index of a batch.

    Args:
        hospital: Where the patches came from.
        findings: What was found in the delivery.
        standing: The admitted rows of its patches.
        known: The colours of the slides of earlier batches.
        stains: The colours of this one's.

    Returns:
        hospital, patient, slide (text), x, y (int64), label (Int8), sha256 of the file, pixel_sha256, flags (their
        names, separated by spaces), in the order of `standing`.
    """
    import pandas as pd

    far = _is_far(standing, known, stains)
    flags = standing["flags"].to_numpy() | (far * np.uint8(FLAG_BIT["stain"]))
    return pd.DataFrame(
        {
            "hospital": pd.Series([hospital], dtype="str").repeat(len(standing)).reset_index(drop=True),
            "patient": standing["patient"].astype("str").reset_index(drop=True),
            "slide": standing["slide"].astype("str").reset_index(drop=True),
            "x": standing["x"].to_numpy().astype(np.int64),
            "y": standing["y"].to_numpy().astype(np.int64),
            "label": _make_nullable_labels(standing["label"].to_numpy()),
            "sha256": as_hex(findings.digests[standing["member"].to_numpy()]),
            "pixel_sha256": standing["pixel_sha256"].reset_index(drop=True),
            "flags": _name_flags(flags),
        }
    )


def count_delivered_flags(index: pd.DataFrame) -> dict[str, int]:
    """Counts the patches with each flag that any has."""
    counts = {flag: int(index["flags"].str.contains(flag).sum()) for flag in FLAG_BIT}
    return {flag: count for flag, count in counts.items() if count}


def measure_delivered_stains(standing: pd.DataFrame) -> list[StainRecord]:
    """Measures the mean optical density of each slide's patches."""
    if standing.empty:
        return []
    density = standing[SLIDE].copy()
    density[CHANNELS] = optical_density(standing[CHANNELS].to_numpy().astype(np.float64))
    grouped = density.groupby(SLIDE, observed=True)
    means, counts = grouped[CHANNELS].mean(), grouped.size()
    return [
        StainRecord(str(patient), str(slide), int(n), *(float(value) for value in row))
        for (patient, slide), row, n in zip(means.index, means.to_numpy(), counts, strict=True)
    ]


def _is_far(standing: pd.DataFrame, known: list[StainRecord], stains: list[StainRecord]) -> NDArray[np.bool_]:
    """Tells which patches are of a slide whose stain is far from those of earlier batches."""
    far = far_slides(_stack_stain_densities(known), _stack_stain_densities(stains))
    names = {(stain.patient, stain.slide) for stain, is_far in zip(stains, far, strict=True) if is_far}
    if not names:
        return np.zeros(len(standing), bool)
    return np.array([cell in names for cell in zip(standing["patient"], standing["slide"], strict=True)])


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
