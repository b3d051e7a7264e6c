"""What is reported of a version: its metrics on test patients, who choose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.evaluation.estimates import Estimate
from bcd.evaluation.tables import METRIC_NAMES, format_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bcd.registry.bundle import Bundle

_SHOWN = ("auroc", "recall", "specificity")


def report_of(bundle: Bundle) -> str:
    """Says in a sentence what a bundle's record holds of its test patients."""
    return describe_figures(bundle.name, bundle.record.metrics)


def describe_figures(name: str, figures: Mapping[str, float], split: str = "test") -> str:
    """Says in a sentence what flat metrics (`test_auroc_pooled`, …) hold of a split's patients."""
    shown = []
    for metric in _SHOWN:
        known = [figures.get(f"{split}_{metric}_pooled{end}") for end in ("", "_low", "_high")]
        if known[0] is not None:
            value, low, high = known
            estimate = Estimate(value=value, low=low, high=high, n_patches=0, n_patients=0)
            shown.append(f"{METRIC_NAMES[metric]} {format_estimate(estimate)}")
    patients = figures.get(f"{split}_patients")
    of = f"{patients:.0f} {split} patients" if patients else f"{split} patients"
    if shown:
        return f"{name} on {of}: {', '.join(shown)}."
    return f"{name}: {of} are too few for a figure." if patients else f"{name}: nothing is known of {split} patients."
