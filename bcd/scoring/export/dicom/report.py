"""The report of a scored patient as a structured report: TID 1500, a group for the patient and one for each slide.

Every figure is computed from the stored scores. The outcome is the patient's, over all slides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bcd.evaluation.outcome import FOUND, NOT_FOUND, UNDECIDED
from bcd.files import SOFTWARE
from bcd.patches import SlideId
from bcd.scoring.export.dicom.maps import SCHEME, USE, describe_maker, describe_series, identify_model, write_code
from bcd.scoring.export.dicom.uids import make_uid, object_uid
from bcd.scoring.export.scored import ScoredPatient
from bcd.scoring.report import PATCH_AREA
from bcd.scoring.summary import summarise_patient_scores

if TYPE_CHECKING:
    import pandas as pd
    from highdicom.sr import Comprehensive3DSR, MeasurementsAndQualitativeEvaluations, QualitativeEvaluation
    from pydicom import Dataset

OUTCOMES = {FOUND: "idc-found", NOT_FOUND: "idc-not-found", UNDECIDED: "idc-undecided"}
"""The code of each outcome; its meaning is the outcome itself."""


def make_report(
    images: Mapping[SlideId, Dataset], evidence: Sequence[Dataset], scored: ScoredPatient
) -> Comprehensive3DSR:
    """Makes the report.

    Args:
        images: The header of the image of each slide.
        evidence: The images, and what was written of them, all of one study.
        scored: The patient.
    """
    from highdicom.sr import (
        Comprehensive3DSR,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )

    device = DeviceObserverIdentifyingAttributes(
        uid=make_uid("device", SOFTWARE), name=SOFTWARE, manufacturer_name=SOFTWARE, model_name=scored.bundle
    )
    observer = ObserverContext(write_code("121007", "DCM", "Device"), device)
    groups = [_measure_patient(scored), *(_measure_slide(scored, slide, image) for slide, image in images.items())]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=write_code("idc-patches", SCHEME, "Scoring of patches of breast tissue for IDC"),
        imaging_measurements=groups,
    )
    return Comprehensive3DSR(
        evidence=list(evidence),
        content=content[0],
        series_instance_uid=object_uid(scored, "report", level="series"),
        series_number=4,
        sop_instance_uid=object_uid(scored, "report"),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=describe_series(scored, "report"),
        **describe_maker(scored),
    )


def _measure_patient(scored: ScoredPatient) -> MeasurementsAndQualitativeEvaluations:
    outcome = summarise_patient_scores(scored.scores, scored.options).outcome
    said = [_evaluate("outcome", "Outcome", OUTCOMES[outcome], outcome)]
    if scored.caution:
        said.insert(0, _evaluate("reliance", "Reliance", "not-to-be-relied-on", scored.caution.rstrip(". ")))
    code, title = scored.drift.level.replace(" ", "-"), scored.drift.title
    said.append(_evaluate("drift", "Drift from the patients of the model's training", code, title))
    return _measure(scored, scored.scores, f"Patient {scored.patient}", said)


def _measure_slide(scored: ScoredPatient, slide: SlideId, image: Dataset) -> MeasurementsAndQualitativeEvaluations:
    return _measure(scored, scored.of_slide(slide), f"Slide {slide}", [], image)


def _measure(
    scored: ScoredPatient,
    scores: pd.DataFrame,
    name: str,
    evaluations: Sequence[QualitativeEvaluation],
    image: Dataset | None = None,
) -> MeasurementsAndQualitativeEvaluations:
    """Measures some patches of the patient, all of `image` where one is given."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes

    summary = summarise_patient_scores(scores, scored.options)
    model = identify_model(scored)[0]
    level = f"{100 * scored.options.outcome.level:g} %"
    measured = {
        ("tumour-fraction", "Mean calibrated probability of IDC"): (summary.tumour_fraction, codes.UCUM.NoUnits),
        ("patches", "Patches scored"): (summary.n, write_code("{patches}", "UCUM", "patches")),
        ("confident-share", f"Share of patches confident at {level}"): (summary.coverage, codes.UCUM.NoUnits),
        ("confident-idc-area", f"Area of patches confidently IDC at {level}"): (
            round(summary.confident_idc * PATCH_AREA, 4),
            codes.UCUM.SquareMillimeter,
        ),
    }
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=object_uid(scored, "measurements", name), identifier=f"{scored.key}: {name}"
        ),
        finding_type=write_code("408643008", "SCT", "Infiltrating duct carcinoma of breast"),
        algorithm_id=AlgorithmIdentification(
            name=model.AlgorithmName, version=model.AlgorithmVersion, parameters=[USE, f"confident at {level}"]
        ),
        finding_sites=[FindingSite(codes.SCT.Breast)],
        measurements=[
            Measurement(name=write_code(code, SCHEME, meaning), value=float(value), unit=unit)
            for (code, meaning), (value, unit) in measured.items()
        ],
        qualitative_evaluations=[*evaluations, _evaluate("use", "Intended use", "research", USE)],
        source_images=None if image is None else [SourceImageForMeasurementGroup.from_source_image(image)],
    )


def _evaluate(name: str, title: str, value: str, meaning: str) -> QualitativeEvaluation:
    from highdicom.sr import QualitativeEvaluation

    return QualitativeEvaluation(name=write_code(name, SCHEME, title), value=write_code(value, SCHEME, meaning))
