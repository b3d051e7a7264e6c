"""The confusion of the two classes as a picture: counts, and the share of each labelled class."""

from __future__ import annotations

from pathlib import Path

from bcd.evaluation.report import Evaluation
from bcd.evaluation.style import INK, page
from bcd.evaluation.tables import describe, format_estimate

_SHADES = ("#FFFFFF", "#0072B2")


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draws how the patches of each label are called, at a probability of one half."""
    from matplotlib.colors import LinearSegmentedColormap

    positive = sum(row.positive for row in evaluation.per_patient)
    called = sum(row.predicted_positive for row in evaluation.per_patient)
    recall, n = evaluation.pooled["recall"], evaluation.n_patches
    tp = sum(_true_positives(row.positive, row.recall) for row in evaluation.per_patient)
    counts = [[tp, positive - tp], [called - tp, n - positive - called + tp]]
    labels = [f"labelled IDC\nrecall {format_estimate(recall)}"]
    labels.append(f"labelled none\nspecificity {format_estimate(evaluation.pooled['specificity'])}")
    called_as = [f"called IDC\nprecision {format_estimate(evaluation.pooled['precision'])}"]
    called_as.append(f"called none\nNPV {format_estimate(evaluation.pooled['npv'])}")
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    with page(path, title="Confusion", note=describe(evaluation), size=(6.4, 3.6)) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", _SHADES), vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(counts):
            for x, count in enumerate(row):
                text = f"{count:,}\n{100 * shares[y][x]:.1f} % of the label"
                axes.text(
                    x, y, text, ha="center", va="center", fontsize=11, color="white" if shares[y][x] > 0.55 else INK
                )
        axes.set_xticks([0, 1], called_as)
        axes.set_yticks([0, 1], labels)
        axes.xaxis.tick_top()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _true_positives(positive: int, recall: float | None) -> int:
    return 0 if recall is None else round(positive * recall)
