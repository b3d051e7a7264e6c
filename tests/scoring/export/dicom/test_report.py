"""The structured report, read back by highdicom: the figures of the HTML report, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import pytest

from bcd.drift.state import UNTRUSTED, Drift
from bcd.evaluation.outcome import OUTCOMES
from bcd.scoring.export.dicom.report import OUTCOMES as CODES
from bcd.scoring.summary import summarise_patient_scores


def values(group) -> dict[str, float]:
    return {each.name.value: float(each.value) for each in group.get_measurements()}


def test_every_outcome_has_a_code() -> None:
    assert set(CODES) == set(OUTCOMES)
    assert len(set(CODES.values())) == len(OUTCOMES)


def test_it_holds_the_patient_s_figures_and_each_slide_s(scored, write) -> None:
    patient = scored(["5", "11"])
    files = write(patient)
    report = hd.sr.Comprehensive3DSR.from_dataset(files["report"])
    whole, *slides = report.content.get_image_measurement_groups()
    assert [each.tracking_identifier for each in (whole, *slides)] == [
        "east/1001: Patient 1001",
        "east/1001: Slide 5",
        "east/1001: Slide 11",
    ]
    for group, scores in [
        (whole, patient.scores),
        (slides[0], patient.of_slide("5")),
        (slides[1], patient.of_slide("11")),
    ]:
        summary = summarise_patient_scores(scores, patient.options)
        assert values(group) == {
            "tumour-fraction": pytest.approx(summary.tumour_fraction),
            "patches": len(scores),
            "confident-share": pytest.approx(summary.coverage),
            "confident-idc-area": pytest.approx(summary.confident_idc * 0.04),
        }
    for group, name in zip(slides, ("slide-5", "slide-11"), strict=True):
        (reference,) = group.source_images
        assert reference.referenced_sop_instance_uid == files[name].SOPInstanceUID


def test_it_says_outcome_model_version_and_use(scored, write) -> None:
    patient = scored()
    found = write(patient)["report"]
    whole, slide = hd.sr.Comprehensive3DSR.from_dataset(found).content.get_image_measurement_groups()
    outcome = summarise_patient_scores(patient.scores, patient.options).outcome
    said = {each.name.value: each.value for each in whole.get_qualitative_evaluations()}
    assert (said["outcome"].value, said["outcome"].meaning) == (CODES[outcome], outcome)
    assert "Research use only" in said["use"].meaning
    assert "outcome" not in {each.name.value for each in slide.get_qualitative_evaluations()}
    texts = [str(element.value) for element in found.iterall() if element.keyword == "TextValue"]
    assert {"bcd-idc", "7"} <= set(texts)
    assert (found.VerificationFlag, found.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_what_is_not_to_be_relied_on_says_so_first(scored, write) -> None:
    patient = scored()
    untrusted = replace(patient, drift=Drift(level=UNTRUSTED, foreign=False))
    for one, reliance, level in ((patient, None, "fine, foreign hospital"), (untrusted, 0, UNTRUSTED)):
        files = write(one)
        whole, _ = hd.sr.Comprehensive3DSR.from_dataset(files["report"]).content.get_image_measurement_groups()
        said = {each.name.value: each.value.meaning for each in whole.get_qualitative_evaluations()}
        assert said["drift"] == level
        assert list(said).index("reliance") == reliance if reliance is not None else "reliance" not in said
        for name in ("report", "segmentation-5", "probability-5"):
            assert files[name].SeriesDescription.startswith(untrusted.caution) == (reliance is not None)


def test_all_that_it_stands_on_is_its_evidence(scored, write) -> None:
    files = write(scored())
    report = files.pop("report")
    named = set()
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in report.get(keyword, []):
            for series in study.ReferencedSeriesSequence:
                named |= {each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence}
    assert named == {each.SOPInstanceUID for each in files.values()}
