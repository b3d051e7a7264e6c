"""What neighbours add to the released model: on the complete slides of the public set, and on made-up ones.

Three patients were delivered whole; that is declared here, for it cannot be told from a thinned slide by looking.
Each is left out in turn: its calibrator never saw its fold, its stage is fitted on the other two. Beside the stage
stands the plain mean, which nobody fits: own + mean of the neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from made_scores import ScoreModel, draw_synthetic_scores
from numpy.typing import NDArray

from bcd.bundle.released.figures import ContextGain, SlideInContext
from bcd.evaluation.policy.calibration import Calibrator, fit_calibrator
from bcd.evaluation.policy.context import Context, fit_stage, score_context
from bcd.evaluation.policy.policy import Policy

COMPLETE = ("8863", "8865", "8867")
"""Patients of the public set of whom every patch with tissue was handed over."""

PLAIN = Context(own=1.0, neighbours=1.0, intercept=0.0, n_patients=0)

SHOWN = "8863"
"""The patient whose slide is drawn: the one with most IDC."""

_MADE_UP = 600  # patients to fit on, and as many to evaluate
_LEAST = 200  # patches of those of them that are taken: most of the real sizes that are drawn are of thinned slides


def mark_complete(scores: pd.DataFrame) -> pd.DataFrame:
    """Adds whether a patch's slide is complete, as is declared."""
    return scores.assign(complete=scores["patient"].isin(COMPLETE))


def evaluate_slides(scores: pd.DataFrame, policies: dict[int, Policy]) -> list[SlideInContext]:
    """Evaluates each complete slide with a stage fitted on the others, then made-up ones; nothing without two slides.

    Args:
        scores: patient, slide, x, y, label, fold, the mean logit and `complete`.
        policies: The policy of each fold, fitted on the other folds' patients.
    """
    slides = scores[scores["complete"]]
    if slides["patient"].nunique() < 2:
        return []
    found = [
        evaluate_slide(str(patient), one, *_without(slides, str(patient), policies))
        for patient, one in slides.groupby("patient", sort=True)
    ]
    return [*found, _average(f"mean of the {len(found)}", found), evaluate_synthetic()]


def _without(slides: pd.DataFrame, patient: str, policies: dict[int, Policy]) -> tuple[Calibrator, Context]:
    mine = slides["patient"] == patient
    calibrator = policies[int(slides.loc[mine, "fold"].iloc[0])].calibrator
    return calibrator, fit_stage(slides[~mine], calibrator)


def evaluate_slide(title: str, slide: pd.DataFrame, calibrator: Calibrator, stage: Context) -> SlideInContext:
    """Evaluates the patches of one slide alone, by the plain mean, and by a stage."""
    positive = slide["label"].to_numpy() == 1
    scored = {
        "alone": calibrator.apply(slide["logit"]),
        "plain": score_context(slide, calibrator, PLAIN),
        "fitted": score_context(slide, calibrator, stage),
    }
    return SlideInContext(
        title=title,
        patches=len(slide),
        positive=int(positive.sum()),
        auroc=ContextGain(**{name: _auroc(positive, probability) for name, probability in scored.items()}),
        best_f1=ContextGain(**{name: best_f1(positive, probability) for name, probability in scored.items()}),
    )


def evaluate_synthetic() -> SlideInContext:
    """Evaluates made-up full slides with a stage fitted on others; the mean over slides."""
    model = ScoreModel()
    val, test = (
        draw_synthetic_scores(model, _MADE_UP, seed).groupby("patient").filter(_is_slide).assign(complete=True)
        for seed in (1, 2)
    )
    calibrator = fit_calibrator(val["logit"], val["label"])
    stage = fit_stage(val, calibrator)
    slides = [evaluate_slide(str(name), one, calibrator, stage) for name, one in test.groupby("patient", sort=True)]
    return _average(f"mean of {len(slides)} made-up full slides", slides)


def _is_slide(patches: pd.DataFrame) -> bool:
    return len(patches) >= _LEAST and patches["label"].nunique() == 2


def _average(title: str, slides: list[SlideInContext]) -> SlideInContext:
    def mean(read: Callable[[SlideInContext], ContextGain]) -> ContextGain:
        each = [read(slide) for slide in slides]
        names = ContextGain.model_fields
        return ContextGain(**{name: float(np.mean([getattr(one, name) for one in each])) for name in names})

    return SlideInContext(
        title=title,
        patches=sum(slide.patches for slide in slides),
        positive=sum(slide.positive for slide in slides),
        auroc=mean(lambda slide: slide.auroc),
        best_f1=mean(lambda slide: slide.best_f1),
    )


def _auroc(positive: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, probability))


def best_f1(positive: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Returns the highest F1 over all thresholds."""
    order = np.argsort(-probability, kind="stable")
    found, called = np.cumsum(positive[order]), np.arange(1, len(order) + 1)
    ends = np.append(np.diff(probability[order]) != 0, True)  # patches of one probability are called together
    return float((2 * found / (called + positive.sum()))[ends].max())


def draw_before_and_after(scores: pd.DataFrame, policies: dict[int, Policy], patient: str, path: Path) -> None:
    """Draws one complete slide: its labels, each patch alone, and in context by a stage fitted on the others."""
    from matplotlib.figure import Figure

    from bcd.patches import PATCH_PIXELS
    from bcd.scoring.heatmap import COLOUR_MAP

    slides = scores[scores["complete"]]
    slide = slides[slides["patient"] == patient]
    calibrator, stage = _without(slides, patient, policies)
    columns, rows = ((slide[name].to_numpy() - slide[name].min()) // PATCH_PIXELS for name in ("x", "y"))
    shown = {
        "labelled IDC": slide["label"].to_numpy(np.float64),
        "each patch alone": calibrator.apply(slide["logit"]),
        "with its neighbours": score_context(slide, calibrator, stage),
    }
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        image = np.full((rows.max() + 1, columns.max() + 1), np.nan)
        image[rows, columns] = values
        drawn = axes.imshow(image, cmap=COLOUR_MAP, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title)
        axes.set_axis_off()
    figure.colorbar(drawn, ax=figure.axes, label="probability of IDC", shrink=0.8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
