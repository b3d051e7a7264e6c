"""A look at gate or test patients: their patches are checked, and scored by models from the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.bundle.registry import Bundle, load_bundle, read_bundle
from bcd.bundle.seen import assert_unseen_by_bundle
from bcd.errors import DamagedError
from bcd.evaluation.policy.context import CONTEXT
from bcd.formats import format_some
from bcd.patches import CELL, Slide, lie_on, patient_keys
from bcd.snapshots.evidence import assert_no_leakage
from bcd.store.batches import read_batch_pixels
from bcd.store.decisions import LOOKS, list_stored_decisions

if TYPE_CHECKING:
    import pandas as pd

    from bcd.settings import Settings
    from bcd.snapshots.freeze import Snapshot
    from bcd.store.store import Store

_ROW = [*CELL, "label", "split"]

_CHUNK = 4096  # patches; a split of millions of them fits no memory


@dataclass(frozen=True)
class Look:
    """The patches of one split, as every model is to see them.

    Attributes:
        snapshot: The snapshot that they are of.
        split: Their split.
        patches: Rows of it.
        digest: Hash of which patches of the split there are, with which labels and which pixels; of those too that
            are left out.
        left_out: Whom of the split each version was trained on that came from elsewhere, by its name.
    """

    snapshot: Snapshot
    split: str
    patches: pd.DataFrame
    digest: str
    left_out: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def n_patients(self) -> int:
        """Patients who are looked at."""
        return int(patient_keys(self.patches).nunique())

    def leave_out_seen(self, settings: Settings, *versions: str | None) -> Look:
        """Returns the look at the patients whom no version that came from elsewhere was trained on.

        Nobody here chose its training patients, and it is compared on the rest. That a version of this home was
        trained on somebody is an error, which `score` raises.

        Raises:
            BcdError: There is no such version.
        """
        bundles = [read_bundle(settings, version) for version in versions if version is not None]
        found = {one.name: one.seen.find(self.patches) for one in bundles if one.seen is not None}
        left_out = {name: patients for name, patients in found.items() if patients}
        if not left_out:
            return self
        rest = ~patient_keys(self.patches).isin(set().union(*left_out.values())).to_numpy()
        return replace(self, patches=self.patches[rest], left_out=left_out)

    def tell_left_out(self) -> str:
        """Says how many patients are left out and why; empty: nobody is."""
        return " ".join(
            f"{len(patients)} of the {self.split} patients are left out: {name} came with bcd and was trained on them"
            f" ({format_some(patients, 3)})."
            for name, patients in self.left_out.items()
        )

    def score(self, settings: Settings, version: str) -> tuple[Bundle, pd.DataFrame]:
        """Loads a version from the registry and scores the patches with it.

        Returns:
            The bundle, and a frame of hospital, patient, slide, x, y, label, split, logit, probability and
            context_probability.

        Raises:
            BcdError: There is no such version, or it has seen a patient.
        """
        bundle = load_bundle(settings, version)
        assert_unseen_by_bundle(settings, bundle, self.patches)
        return bundle, _score_rows(settings, bundle, self.patches, self.snapshot.complete)


def open_look(store: Store, snapshot: Snapshot, split: str) -> Look:
    """Reads the patches of a split and makes sure that they are what an earlier look saw.

    Raises:
        BcdError: A patient or the same pixels lie in two splits, or pixels are not what they were.
    """
    assert_no_leakage(snapshot)
    patches = snapshot.of(split)
    look = Look(snapshot, split, patches, _digest_gate_patches(store.settings, patches))
    if split == "gate":
        _require_frozen(store, look)
    return look


def _score_rows(
    settings: Settings, bundle: Bundle, patches: pd.DataFrame, complete: Collection[Slide] = ()
) -> pd.DataFrame:
    """Scores the patches of a snapshot.

    Args:
        settings: Where their pixels lie.
        bundle: What scores them.
        patches: Rows of a snapshot.
        complete: Slides (hospital, patient, slide) on which neighbours count.

    Returns:
        The patches' columns (hospital, patient, slide, x, y, label, split) with logit, probability and
        context_probability.
    """
    import pandas as pd

    scored = [bundle.score(pixels)[["logit", "probability"]] for pixels in _read_in_parts(settings, patches)]
    scores = patches[_ROW].reset_index(drop=True).join(pd.concat(scored, ignore_index=True))
    placed = scores.assign(complete=lie_on(scores, complete))
    return scores.assign(**{CONTEXT: bundle.record.policy.score_context(placed)})


def digest_gate_patients(snapshot: Snapshot) -> str:
    """Hashes the patches of gate and test patients with their labels and their pixels' hashes."""
    rows = snapshot.patches[snapshot.patches["split"].isin(["gate", "test"])]
    return hashlib.sha256(rows[[*_ROW, "pixel_sha256"]].to_csv(index=False).encode()).hexdigest()


def _digest_gate_patches(settings: Settings, patches: pd.DataFrame) -> str:
    digest = hashlib.sha256(patches[_ROW].to_csv(index=False).encode())
    for pixels in _read_in_parts(settings, patches):
        digest.update(pixels.data)
    return digest.hexdigest()


def _read_in_parts(settings: Settings, patches: pd.DataFrame) -> Iterator[NDArray[np.uint8]]:
    """Yields the raw pixels of patches in their order, some at a time; of no patch one part without any."""
    for start in range(0, max(len(patches), 1), _CHUNK):
        yield read_batch_pixels(settings, patches.iloc[start : start + _CHUNK])


def _require_frozen(store: Store, look: Look) -> None:
    for one in list_stored_decisions(store):
        if one.kind not in LOOKS or one.snapshot != look.snapshot.id:
            continue
        if (known := one.evidence["gate_digest"]) != look.digest:
            raise DamagedError(
                f"The gate patients of snapshot {look.snapshot.id[:12]} are not what they were on "
                f"{one.decided_at:%Y-%m-%d}: their digest is {look.digest[:12]} and was {known[:12]}.",
                "Restore the batches from a backup, or freeze a new snapshot.",
            )
