"""What a validation leaves: a folder with JSON, scores, pictures, and one page that needs nothing beside it.

The folder holds evaluation.json, scores.parquet, NUMBER-MODEL/*.png, with several models differences.png, and
index.html.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.policy.context import CONTEXT
from bcd.evaluation.report.figures import PICTURES, describe_evaluation_picture, draw_evaluation
from bcd.evaluation.report.forest import draw_differences
from bcd.evaluation.report.sections import subgroup_tables
from bcd.evaluation.report.tables import METRIC_NAMES, describe_evaluation, headline_table, threshold_parts
from bcd.files import whole_folder
from bcd.formats import format_estimate
from bcd.pages import embed_picture_in_page, render_page
from bcd.patches import CELL
from bcd.progress import track_progress
from bcd.validation.result import Validation
from bcd.validation.tables import (
    name_validated_pair,
    published_beside_validated,
    validated_models_table,
    validated_pairs_table,
)

if TYPE_CHECKING:
    import pandas as pd

_DRAWN = ("auroc", "accuracy", "brier")
_BESIDE = ["logit", "probability", CONTEXT]


def write_validation(validation: Validation, scores: Mapping[str, pd.DataFrame], parent: Path) -> Path:
    """Writes a validation into a folder of `parent`, whole; the same validation again is found written.

    Args:
        validation: What was found.
        scores: The score frame of each model that it was computed from, with the same patches in the same order.
        parent: Where the folder goes; it is named by its content.

    Returns:
        The folder.
    """
    table, text = _join_scores(scores), validation.model_dump_json(indent=2)
    digest = hashlib.sha256(text.encode())
    digest.update(table.to_csv(index=False).encode())
    folder = parent / f"evaluation-{digest.hexdigest()[:12]}"
    if folder.exists():
        return folder
    with whole_folder(folder) as partial:
        (partial / "evaluation.json").write_text(text, encoding="utf-8")
        table.to_parquet(partial / "scores.parquet", index=False)
        page = _make_page(validation, scores, partial)
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder


def _join_scores(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Joins score frames of the same patches: what names and labels a patch, then each model's columns.

    With one model they are called logit, probability and context_probability, with several `MODEL probability`.
    """
    first = next(iter(scores.values()))
    table = first[[name for name in [*CELL, "label", "batch", "split"] if name in first.columns]].copy()
    for name, frame in scores.items():
        for column in _BESIDE:
            if column in frame.columns:
                table[column if len(scores) == 1 else f"{name} {column}"] = frame[column].to_numpy()
    return table.reset_index(drop=True)


def _make_page(validation: Validation, scores: Mapping[str, pd.DataFrame], folder: Path) -> str:
    """Draws every picture into `folder` and returns the page with all of them in it."""
    first = next(iter(validation.evaluations.values()))
    sections = []
    with track_progress("Drawing", total=len(validation.evaluations)) as advance:
        for number, (name, evaluation) in enumerate(validation.evaluations.items(), 1):
            pictures = folder / f"{number}-{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-.')[:60]}"
            pictures.mkdir()
            sections.append(
                _make_model_section(name, evaluation, draw_evaluation(scores[name], evaluation, pictures))
            )
            advance(1)
    facts = {
        "validation": validation,
        "description": describe_evaluation(first),
        "sections": sections,
        "published": published_beside_validated(validation),
        **_make_comparison(validation, folder / "differences.png", first),
    }
    return render_page("bcd.validation", "page.html.j2", facts)


def _make_model_section(name: str, evaluation: Evaluation, pictures: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "name": name,
        "headline": _make_validation_headline(evaluation),
        "metrics": headline_table(evaluation),
        "thresholds": threshold_parts(evaluation),
        "tables": subgroup_tables(evaluation),
        "pictures": [
            _show_validation_picture(pictures[title], describe_evaluation_picture(title, evaluation))
            for title in PICTURES
            if title in pictures
        ],
    }


def _make_validation_headline(evaluation: Evaluation) -> dict[str, str]:
    shown: dict[str, Estimate] = {
        "AUROC, pooled": evaluation.pooled["auroc"],
        "AUROC, patient-macro": evaluation.patient_macro["auroc"],
        "balanced accuracy, pooled": evaluation.pooled["balanced_accuracy"],
        "F1, pooled": evaluation.pooled["f1"],
    }
    return {name: format_estimate(estimate) for name, estimate in shown.items()}


def _make_comparison(validation: Validation, picture: Path, first: Evaluation) -> dict[str, Any]:
    if not validation.differences:
        return {"models": None, "pairs": None, "differences": None}
    pairs = {name_validated_pair(pair): pair.metrics for pair in validation.differences}
    draw_differences(pairs, picture, note=describe_evaluation(first), metrics=_DRAWN)
    return {
        "models": validated_models_table(validation.evaluations),
        "pairs": validated_pairs_table(validation.differences, confidence=first.options.confidence),
        "differences": _show_validation_picture(picture, _tell_differences(validation)),
    }


def _tell_differences(validation: Validation) -> str:
    shown = ", ".join(METRIC_NAMES[name] for name in _DRAWN)
    return f"Differences between models in {shown}, with intervals by patient; pairs: {len(validation.differences)}"


def _show_validation_picture(picture: Path, alt: str) -> dict[str, str]:
    return {"src": embed_picture_in_page(picture.read_bytes(), "png"), "alt": alt}
