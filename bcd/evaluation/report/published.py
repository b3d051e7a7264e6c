"""What others have published, to be printed beside ours: every figure with what differs.

The founding work's figures are those of the README of its repository (israelsolha/Breast-Cancer-Detection), where the
row at 99 % repeats the rates of the row at 80 %. Its recall and precision follow from 50:50 classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.report.tables import METRIC_NAMES, Table
from bcd.formats import NOT_AVAILABLE, format_estimate, format_level
from bcd.options import Probability

FOUNDING_PREVALENCE = 0.5
"""The founding work dropped patches without IDC until both classes were equal, in training and in its test."""


@dataclass(frozen=True)
class PublishedLevel:
    """One row of the founding work's table; shares in per cent."""

    level: Probability
    coverage: float
    accuracy: float
    precision: float
    recall: float
    note: str = ""


FOUNDING_TABLE = (
    PublishedLevel(0.5, 100.0, 88.90, 87.90, 90.21),
    PublishedLevel(0.80, 80.03, 94.38, 93.39, 95.36),
    PublishedLevel(0.95, 53.16, 97.68, 97.06, 97.87),
    PublishedLevel(0.99, 25.24, 94.38, 93.39, 95.36, " (its rates repeat those of 80 %)"),
    PublishedLevel(0.999, 7.44, 99.70, 99.54, 99.39),
    PublishedLevel(0.9999, 2.66, 99.88, 100.0, 98.31),
)
"""As published; 0.5 stands for all patches."""

FOUNDING_DIFFERS = (
    "What differs: the founding work names neither its patients nor how they were split, its test patches were "
    "thinned to 50:50, its confidence is the raw output of two sigmoids and not a calibrated probability, and it "
    "gives no interval. Ours: the patients named above, weighted to 50:50, with calibrated probabilities unless said "
    "otherwise."
)


@dataclass(frozen=True)
class PublishedResult:
    """A result on the 49 published test patients.

    Attributes:
        work: Whose it is.
        f1: Pooled F1.
        balanced_accuracy: Pooled, at the sample's own prevalence.
    """

    work: str
    f1: float
    balanced_accuracy: float


_RATES = ("coverage", "accuracy", "precision", "recall")

CRUZ_ROA_RESULTS = (
    PublishedResult("Cruz-Roa et al. 2014", 0.718, 0.8423),
    PublishedResult("Janowczyk and Madabhushi 2016", 0.7648, 0.8468),
)
"""Results on the patients of `cruz-roa-2014-test`, trained on the lists of train and val."""


def founding_table(evaluation: Evaluation) -> Table:
    """Puts the founding work's table beside ours, both at 50:50.

    Args:
        evaluation: One that was made at `FOUNDING_PREVALENCE`.
    """
    rows = []
    for published in FOUNDING_TABLE:
        named = f"≥ {format_level(published.level)}" if published.level > 0.5 else "all patches"
        theirs = (_format_published_share(getattr(published, name) / 100) for name in _RATES)
        rows.append([named, f"founding work{published.note}", *theirs])
        rows.append(["", "ours", *_ours(evaluation, published.level)])
    return Table(FOUNDING_DIFFERS, ["confidence", "whose", *_RATES], rows)


def _ours(evaluation: Evaluation, level: Probability) -> list[str]:
    at = evaluation.at_prevalence
    assert at is not None
    assert at.prevalence == FOUNDING_PREVALENCE
    if level == 0.5:
        estimates = (at.metrics["accuracy"], at.metrics["precision"], evaluation.pooled["recall"])
        return ["1.000", *(format_estimate(estimate) for estimate in estimates)]
    row = next((row for row in at.thresholds if row.level == level), None)
    return [NOT_AVAILABLE if row is None else format_estimate(getattr(row, name)) for name in _RATES]


def _format_published_share(share: float) -> str:
    return f"{share:.3f}".removeprefix("0")


def cruz_roa_table(evaluation: Evaluation) -> Table:
    """Puts published results on the same 49 patients beside ours."""
    names = ("f1", "balanced_accuracy")
    rows = [
        [each.work, *(_format_published_share(getattr(each, name)) for name in names)] for each in CRUZ_ROA_RESULTS
    ]
    rows.append(["ours", *(format_estimate(evaluation.pooled[name]) for name in names)])
    caption = (
        "Published results on the 49 test patients of Cruz-Roa et al. 2014; "
        f"ours is of {evaluation.n_patients} of them. What differs: theirs are without intervals, and of every patch "
        "of the 49 patients."
    )
    return Table(caption, ["work", *(METRIC_NAMES[name] for name in names)], rows)
