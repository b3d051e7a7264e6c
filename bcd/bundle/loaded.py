"""What every bundle that is ready to score says of itself, in a folder or in the registry."""

from __future__ import annotations

import numpy as np

from bcd.bundle.distance import Distance, measure_distance_from_reference
from bcd.bundle.record import BundleRecord
from bcd.bundle.scorer import Scorer
from bcd.drift.state import Known


class LoadedBundle:
    """A bundle that is ready to score, wherever it lies.

    Attributes:
        scorer: Its preparation, engine and policy.
    """

    scorer: Scorer

    @property
    def record(self) -> BundleRecord:
        """What it is made of and where it comes from."""
        return self.scorer.record

    @property
    def known(self) -> Known | None:
        """The patients with whom drift is found; None where its record holds none."""
        return self.record.known

    def measure(self, pixels: np.ndarray) -> Distance | None:
        """Measures how far patches of a patient lie from those that it was trained on; None where it cannot say."""
        reference = self.record.reference
        return None if reference is None else measure_distance_from_reference(reference, pixels)
