"""What `bcd evaluate` does: models score the same patches, and all of them are evaluated by the same code.

Examples:
        validation, scores = evaluate_on_protocol(store, ["champion"], "natural", options=options)
        write_validation(validation, scores, Path("evaluations"))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.bundle.distance import SAMPLED
from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.context import CONTEXT
from bcd.evaluation.policy.policy import Policy
from bcd.evaluation.report.published import FOUNDING_PREVALENCE
from bcd.options import Microns
from bcd.patches import PERSON, Hospital, Slide, lie_on
from bcd.settings import Settings
from bcd.snapshots.freeze import preview_snapshot
from bcd.store.batches import read_batch_pixels
from bcd.store.complete import list_complete_slides
from bcd.store.matching import match_table_rows
from bcd.validation.model import AS_FOUND, EvaluatedModel, FileReading, open_validated_model
from bcd.validation.patients import (
    EvaluationProtocol,
    choose_validated_patients,
    find_validated_patches,
    note_patients_not_validated,
    require_unseen_by_validated,
    select_validated_patients,
)
from bcd.validation.predictions import NAMELESS, Predictions, describe_unusable_predictions
from bcd.validation.result import Validation, evaluate_models

if TYPE_CHECKING:
    import pandas as pd

    from bcd.admission.naming import Naming
    from bcd.store.store import Store

Found = tuple[Validation, dict[str, "pd.DataFrame"]]
"""A validation, and the score frames that it was computed from."""

_CHUNK = 1 << 15  # patches in memory at a time: 250 MB of pixels


def evaluate_on_protocol(
    store: Store,
    models: Sequence[str],
    protocol: EvaluationProtocol,
    *,
    options: EvaluateOptions,
    snapshot: str = "",
    reading: FileReading = AS_FOUND,
) -> Found:
    """Evaluates models on a protocol's patients; without a snapshot, the first model says which is meant.

    Raises:
        BcdError: A model or the snapshot is not there, or a model has seen a patient.
        InsufficientEvidenceError: None of the patients is there.
    """
    opened = [open_validated_model(store.settings, which, reading) for which in models]
    sample = choose_validated_patients(store, protocol, snapshot, opened[0])
    for model in opened[1:]:
        require_unseen_by_validated(store.settings, model, sample.patches)
    scores = _score_all(
        opened,
        sample.patches,
        lambda rows: read_batch_pixels(store.settings, sample.patches.iloc[rows]),
        complete=list_complete_slides(store).keys(),
    )
    validation = evaluate_models(
        scores,
        _apply_protocol(options, protocol),
        title=f"{', '.join(scores)}: {sample.title}",
        notes=[*note_patients_not_validated(sample.patches, protocol), *_list_model_notes(opened)],
        split=sample.split,
        snapshot=sample.snapshot,
        protocol=protocol,
        policies=_list_policies(opened),
    )
    return validation, scores


def evaluate_predictions(
    store: Store | None,
    predictions: Predictions,
    beside: Sequence[str],
    *,
    options: EvaluateOptions,
    protocol: EvaluationProtocol = "natural",
    reading: FileReading = AS_FOUND,
) -> Found:
    """Evaluates anybody's predictions, and models beside them on those of the patches that are admitted.

    Args:
        store: The open store; only needed with `beside`.
        predictions: What was read of a file.
        beside: Models to score the same patches.
        options: How they are evaluated.
        protocol: A published list leaves only its patients; `founding` weights the classes.
        reading: How files of networks among the models are read.

    Raises:
        BcdError: As `evaluate_on_protocol`; or none of the patches is admitted.
    """
    predictions = predictions.select(select_validated_patients(predictions.patches, protocol))
    notes = [f"Scores of {predictions.path.name}, evaluated as they are."]
    if predictions.left_out:
        notes.append(f"Left out, as no probabilities: {describe_unusable_predictions(predictions.left_out)}.")
    if len(predictions.given) < 2:
        notes.append(f"Hospital or slide is called “{NAMELESS}” where the file does not say it.")
    opened: list[EvaluatedModel] = []
    scored: dict[str, pd.DataFrame] = {}
    if beside:
        assert store is not None
        opened = [open_validated_model(store.settings, which, reading) for which in beside]
        predictions, patches, missing = _in_store(store, predictions)
        notes += missing
        for model in opened:
            require_unseen_by_validated(store.settings, model, patches)
        scored = _score_all(
            opened,
            predictions.patches,
            lambda rows: read_batch_pixels(store.settings, patches.iloc[rows]),
            complete=list_complete_slides(store).keys(),
        )
    _require_once([*predictions.columns, *scored])
    scores = {column: predictions.scores(column) for column in predictions.columns} | scored
    validation = evaluate_models(
        scores,
        _apply_protocol(options, protocol),
        title=f"Predictions of {predictions.path.name}",
        notes=[*notes, *note_patients_not_validated(predictions.patches, protocol), *_list_model_notes(opened)],
        protocol=protocol,
        policies=_list_policies(opened),
    )
    return validation, scores


def _in_store(store: Store, predictions: Predictions) -> tuple[Predictions, pd.DataFrame, list[str]]:
    """Returns the predictions of admitted patches, those patches in the same order, and what finds no partner."""
    admitted = preview_snapshot(store)
    patches = find_validated_patches(admitted, predictions.patches, predictions.given)
    kept = np.isin(np.arange(len(predictions.patches)), patches["row_wanted"].to_numpy())
    not_said = {name: NAMELESS for name in ("hospital", "slide") if name not in predictions.given}
    rows = predictions.patches.assign(line=predictions.lines, identifier=predictions.patches["patient"], **not_said)
    match = match_table_rows(
        predictions.path.name,
        "the store",
        rows,
        admitted.assign(**not_said),
        is_found=kept,
        call=lambda *_: None,
        fix="Admit the patches first, name them as the store does, or leave --beside out.",
    )
    notes = [f"{match.note} All are evaluated on the others."] if match.note else []
    people = admitted[PERSON].merge(patches[PERSON].drop_duplicates())
    if len(people) > len(patches):
        notes.append(
            f"{len(people) - len(patches):,} admitted patches of these patients have no prediction in the file."
        )
    return predictions.select(kept), patches, notes


def evaluate_on_delivery(
    settings: Settings,
    path: Path,
    hospital: Hospital,
    models: Sequence[str],
    *,
    options: EvaluateOptions,
    protocol: EvaluationProtocol = "natural",
    naming: Naming | None = None,
    reading: FileReading = AS_FOUND,
    spacing: Microns | None = None,
) -> Found:
    """Evaluates models on a delivery that is not admitted; neither store nor catalog is touched.

    A spacing, in µm per pixel, is of slides that do not say it, or confirms what they say.

    Raises:
        BcdError: As `evaluate_on_protocol`; the delivery cannot be read; or its patches were sharpened.
        InsufficientEvidenceError: None of its patches has a label.
    """
    from bcd.admission.preview import look_at

    opened = [open_validated_model(settings, which, reading) for which in models]
    with look_at(path, hospital, naming=naming, spacing=spacing) as delivery:
        labelled = delivery.patches["label"].notna().to_numpy(dtype=bool)
        if not labelled.any():
            raise InsufficientEvidenceError(
                " ".join(
                    [f"No patch of {delivery.name} has a label, so nothing can be evaluated.", *delivery.label_notes]
                ),
                "Put a labels.csv beside the patches, or admit the delivery and score its patients.",
            )
        patches, rows = delivery.patches[labelled], delivery.rows[labelled]
        chosen = select_validated_patients(patches, protocol)
        patches, rows = patches[chosen].reset_index(drop=True), rows[chosen]
        for model in opened:
            require_unseen_by_validated(settings, model, patches)
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLED)).astype(np.int64)]
        far = _measure_distances(opened, delivery.pixels[some], delivery.name)
        scores = _score_all(opened, patches, lambda chunk: delivery.pixels[rows[chunk]], complete=delivery.complete)
        validation = evaluate_models(
            scores,
            _apply_protocol(options, protocol),
            title=f"{', '.join(scores)} on {delivery.name}, which was not admitted",
            notes=[
                *_describe_left_out_predictions(delivery.files, delivery.refused, int((~labelled).sum())),
                *delivery.label_notes,
                *far,
                *note_patients_not_validated(patches, protocol),
                *_list_model_notes(opened),
            ],
            protocol=protocol,
            policies=_list_policies(opened),
        )
    return validation, scores


def _measure_distances(models: Sequence[EvaluatedModel], pixels: np.ndarray, name: str) -> list[str]:
    """Says what of patches is far from those that each bundle was trained on, another magnification too.

    Raises:
        BcdError: They were sharpened before.
    """
    notes = []
    for model in models:
        distance = None if model.bundle is None else model.bundle.measure(pixels)
        if distance is not None:
            distance.require_raw(name, tiled=True)
            notes += [f"{model.name}: {warning}" for warning in distance.warnings()]
    return notes


def _apply_protocol(options: EvaluateOptions, protocol: EvaluationProtocol) -> EvaluateOptions:
    """Returns the options as a protocol wants them: `founding` states its prevalence.

    Raises:
        BcdError: Another prevalence was stated.
    """
    if protocol != "founding" or options.at_prevalence == FOUNDING_PREVALENCE:
        return options
    if options.at_prevalence is not None:
        raise BcdError(
            f"Protocol founding is at a prevalence of {FOUNDING_PREVALENCE}, not of {options.at_prevalence}.",
            "Leave the prevalence out, or choose another protocol.",
        )
    return options.model_copy(update={"at_prevalence": FOUNDING_PREVALENCE})


def _score_all(
    models: Sequence[EvaluatedModel],
    patches: pd.DataFrame,
    read: Callable[[slice], np.ndarray],
    *,
    complete: Collection[Slide],
) -> dict[str, pd.DataFrame]:
    """Scores patches with each model, a chunk of pixels at a time; those of complete slides in context, too."""
    _require_once([model.name for model in models])
    parts: dict[str, list[pd.DataFrame]] = {model.name: [] for model in models}
    for start in range(0, len(patches), _CHUNK):
        pixels = read(slice(start, min(start + _CHUNK, len(patches))))
        for model in models:
            parts[model.name].append(model.score(pixels)[["logit", "probability"]])
    policies, whole = _list_policies(models), lie_on(patches, complete)
    return {
        name: _add_context(_join_model_scores(patches, part), whole, policies.get(name))
        for name, part in parts.items()
    }


def _add_context(scores: pd.DataFrame, complete: NDArray[np.bool_], policy: Policy | None) -> pd.DataFrame:
    if policy is None or policy.context is None or not complete.any():
        return scores
    return scores.assign(**{CONTEXT: policy.score_context(scores.assign(complete=complete))})


def _join_model_scores(patches: pd.DataFrame, parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return patches.reset_index(drop=True).join(pd.concat(parts, ignore_index=True))


def _require_once(names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise BcdError(f"{name} is evaluated twice.", "Name every model, and every column, once.")


def _list_policies(models: Sequence[EvaluatedModel]) -> dict[str, Policy]:
    return {model.name: model.bundle.record.policy for model in models if model.bundle is not None}


def _list_model_notes(models: Sequence[EvaluatedModel]) -> list[str]:
    return [model.note for model in models if model.note]


def _describe_left_out_predictions(files: int, refused: dict[str, int], unlabelled: int) -> list[str]:
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in refused.items()) or "none"
    notes = [f"{files:,} files; refused by the rules of admission: {by_rule}. Nothing was admitted or stored."]
    if unlabelled:
        notes.append(f"{unlabelled:,} patches without a label were not evaluated.")
    return notes
