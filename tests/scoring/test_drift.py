"""What a pathologist sees of drift: the first screen of the report, and the patient's own record."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bcd.drift.patient import read_patient_drift
from bcd.drift.profiles import Profiles
from bcd.drift.state import UNTRUSTED, Drift, Known
from bcd.patches import Hospital, PatientId
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.store.drift import list_drift

CELLS = [(0, 0), (1, 0), (3, 1), (2, 2), (4, 2)]


@pytest.fixture
def report(make_report, make_patches):
    def make(**drift) -> str:
        patches, pixels = make_patches(CELLS, labels=[None] * len(CELLS))
        return make_report(patches.assign(probability=0.2), pixels, drift=Drift(**drift))

    return make


def box_of(html: str) -> str:
    """The class of the box that says the state."""
    return re.search(r'<div class="([^"]*)"[^>]* data-drift="', html)[1]


def test_what_is_not_to_be_trusted_is_said_before_anything_else_in_red(report) -> None:
    html = report(level=UNTRUSTED, foreign=False, reasons=("The delivery: pictures are unlike",))
    assert box_of(html) == "drift red"
    assert html.index("Not to be relied on.") < html.index("Split:") < html.index("outcome at")
    assert "The delivery: pictures are unlike" in html


@pytest.mark.parametrize(
    ("level", "foreign", "box"),
    [
        ("fine", False, "exposure unseen"),
        ("fine", True, "exposure"),
        ("unusual", False, "exposure"),
        ("not compared", None, "exposure"),
    ],
)
def test_fine_is_green_and_unusual_foreign_or_not_compared_are_yellow(report, level, foreign, box) -> None:
    html = report(level=level, foreign=foreign, known=230)
    assert box_of(html) == box
    assert "Not to be relied on" not in html
    assert f"Drift: {level}" in html


def flat(names, *, mean: float, deviation: float) -> Profiles:
    """Forty patients of east whose every mean is near one value."""
    random = np.random.default_rng(0)
    patients = np.repeat([f"east/{number}" for number in range(40)], 2)
    return Profiles.of(names, {name: random.normal(mean, deviation, 80) for name in names}, patients)


@pytest.fixture
def admitted(store, make_patches):
    for number in range(4):
        store.admit(*make_patches(CELLS, patient=str(1001 + number), seed=number))


def score(store, bundle, patient: str = "1001"):
    return score_patient(store, bundle, Hospital("east"), PatientId(patient), ScoreOptions())


@pytest.mark.usefixtures("admitted")
def test_the_delivery_of_a_patient_makes_the_report_say_so_and_is_compared_once(store, bundle) -> None:
    bundle.known = Known(
        pictures=flat(("tissue",), mean=0.1, deviation=0.01), scores=flat(("probability",), mean=0.5, deviation=0.2)
    )
    scored = score(store, bundle)
    kept = read_patient_drift(scored.folder)
    assert scored.drift == kept
    assert (kept.state.level, kept.slides["5"].level) == (UNTRUSTED, UNTRUSTED)
    assert kept.delivery.patients == 1
    assert box_of(scored.report.read_text("utf-8")) == "drift red"
    [record] = list_drift(store)
    assert (record.bundle, record.level) == (bundle.name, kept.delivery.level)
    assert kept.scores.patches == len(CELLS)


@pytest.mark.usefixtures("admitted")
def test_a_bundle_that_knows_nobody_says_that_nothing_was_compared(store, bundle) -> None:
    scored = score(store, bundle)
    assert scored.drift.state.level == "not compared"
    assert "Drift: not compared" in scored.report.read_text("utf-8")
