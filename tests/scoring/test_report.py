"""The report as a file: what it says, what it holds, how large it is. What its script does: test_report_in_use.py."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from bcd.drift.state import Drift
from bcd.evaluation.calls import is_confident
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.certified import CertifiedThreshold
from bcd.evaluation.policy.policy import Policy
from bcd.scoring.examples import show_examples
from bcd.scoring.exposure import Exposure
from bcd.scoring.intervals import HELD_BELOW, LEAST_ACROSS, WIDE_ACROSS, PlacedPatches
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import slide_picture_budget
from bcd.scoring.summary import MIN_PATCHES

DATA_URI = re.compile(r"data:image/(png|webp);base64,([A-Za-z0-9+/=]+)")


@pytest.fixture
def patient(make_patches):
    """A hundred patches, ten of them surely IDC."""

    def make(*, probability=(0.01,) * 90 + (0.99,) * 10, label=None, columns=10):
        n = len(probability)
        patches, pixels = make_patches([(i % columns, i // columns) for i in range(n)], labels=label or [None] * n)
        return patches.assign(probability=probability), pixels

    return make


def record_with(policy):
    return SimpleNamespace(snapshot="abc123", created_at=datetime(2026, 11, 20, tzinfo=UTC), policy=policy)


def text_of(html):
    body = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_it_says_research_use_only_and_who_what_when(make_report, patient):
    text = text_of(make_report(*patient()))
    for said in ["Research use only. Not for diagnosis.", "Hospital east", "Patient 1001", "bcd-idc/7", "abc123"]:
        assert said in text
    assert re.search(r"east · slide 5 · .*bcd-idc/7 .*23 November 2026", text)
    assert re.search(r"\bSplit: test\b", text)
    assert "cannot say who has none" in text


def test_it_needs_no_network(make_report, patient):
    html = make_report(*patient())
    assert "default-src 'none'" in html
    assert not re.findall(r"(?:https?:|url\(|@import|//[a-z]+\.)", DATA_URI.sub("", html))
    assert all(DATA_URI.fullmatch(source) for source in re.findall(r'(?:src|href)="([^"#][^"]*)"', html))


def test_without_its_script_it_shows_pictures_and_figures_and_no_dead_controls(make_report, patient):
    html = re.sub(r"<script.*?</script>", "", make_report(*patient()), flags=re.DOTALL)
    assert html.count("<svg role=") + html.count('<svg class="map" role=') == 2
    assert all("hidden" in tag for tag in re.findall(r'<div class="(?:controls|tools)"[^>]*>', html))
    outside = re.sub(
        r'<div class="(?:controls|tools)" hidden>.*?</div>\s*(?=<section|<div class="pair")',
        "",
        html,
        flags=re.DOTALL,
    )
    assert "<input" not in outside
    assert "<button" not in outside
    assert re.search(r"confidently IDC 10 10\.0 % [^²]* 0\.40 mm²", text_of(html))
    assert re.search(r"not confident 0 0\.0 % .* 0\.00 mm²", text_of(html))


def test_the_picture_is_the_slide_in_rgb_and_is_embedded_once(make_report, patient):
    scores, pixels = patient()
    pixels[:] = (200, 0, 0)
    html = make_report(scores, pixels)
    kind, picture = DATA_URI.fullmatch(re.search(r'<image id="picture-5" href="([^"]*)"', html)[1]).groups()
    assert kind == "webp"
    assert html.count(picture) == 1
    image = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert image.shape == (600, 600, 3)
    assert image[300, 300] == pytest.approx([200, 0, 0], abs=12)
    assert html.count('<use href="#picture-5"/>') == 1


def test_values_are_escaped(make_report, patient):
    html = make_report(*patient(), hospital="<b>east</b>", protocol='"><script>alert(1)</script>')
    assert "<b>east</b>" not in html
    assert "&lt;b&gt;east&lt;/b&gt;" in html
    assert "<script>alert" not in html
    assert html.count("<script") == 2


def test_the_headline_holds_a_share_against_the_same_share(make_report, patient):
    without = text_of(make_report(*patient()))
    assert "labelled IDC" not in without
    labelled = text_of(make_report(*patient(label=[0] * 85 + [1] * 15)))
    assert re.search(r"\b10\.0 % \w+ 15\.0 % .*\blabelled IDC\b.* 100 labelled", labelled)
    assert "10.8 %" in labelled
    assert "≥ 95 % 100 100.0 % 10 95.0 %" in labelled


def test_too_few_confident_patches_beside_a_tumour_fraction_are_explained(make_report, patient):
    undecided = text_of(make_report(*patient(probability=[0.5] * 80 + [0.99] * 2)))
    explained = re.compile(r"“Not enough confident patches” .*?\. (\d+) .*? (\d+)\), .*? ([\d.]+ %) of (\d+) patches")
    assert explained.search(undecided).groups() == ("2", "3", "2.4 %", "82")
    assert not explained.search(text_of(make_report(*patient())))


def test_a_share_that_is_not_quite_all_is_not_called_all(make_report, patient):
    assert "&gt; 99.9 % coverage" in text_of(make_report(*patient(probability=[0.6] + [0.01] * 1999)))


def test_no_number_reads_otherwise_where_the_comma_is_a_decimal_sign(make_report, patient):
    text = text_of(make_report(*patient(probability=[0.01] * 1999 + [0.99])))
    assert "2 000 patches of 1 slide" in text  # a thin space, here made an ordinary one
    assert not re.findall(r"\d,\d", text)


def test_a_patient_that_was_trained_on_stands_out(make_report, patient):
    trained = Exposure("train", False, "The model was trained on this patient, so these scores flatter it.")
    html = make_report(*patient(), exposure=trained)
    assert 'class="exposure"' in html
    assert trained.statement in html
    assert 'class="exposure unseen"' in make_report(*patient())


def test_the_ten_most_suspicious_and_the_ten_most_uncertain_patches_are_shown(make_report, patient):
    scores, pixels = patient(probability=np.random.default_rng(3).random(100))
    html = make_report(scores, pixels)
    shown = re.findall(r'data-x="(\d+)" data-y="(\d+)".*?src="([^"]*)".*?<b>(.*?)</b>', html, re.DOTALL)
    p = scores["probability"].to_numpy()
    expected = [*np.argsort(-p)[:10], *np.argsort(np.abs(p - 0.5))[:10]]
    assert len(shown) == 20
    for (x, y, picture, said), at in zip(shown, expected, strict=True):
        assert (int(x), int(y)) == (scores["x"][at], scores["y"][at])
        assert said == f"{100 * p[at]:.1f}\u00a0%"
        data = np.frombuffer(base64.b64decode(DATA_URI.fullmatch(picture)[2]), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert image.shape == (50, 50, 3)
        assert image.mean(axis=(0, 1)) == pytest.approx(pixels[at].mean(axis=(0, 1)), abs=6)


def test_of_few_patches_all_are_picked_and_equals_keep_their_order(patient):
    few, _ = patient(probability=[0.2, 0.9, 0.9])
    found = show_examples(few, 0.95, None)
    assert [one.x for one in found.suspicious] == [51, 101, 1]
    assert [one.x for one in found.uncertain] == [1, 51, 101]
    assert found.contradicted == []


def test_confident_patches_that_their_label_contradicts_are_shown(make_report, patient):
    p, label = [0.999, 0.96, 0.98, 0.6, 0.01, 0.03] + [0.2] * 30, [0, 0, 1, 0, 1, None] + [0] * 30
    scores, pixels = patient(probability=p, label=label)
    found = show_examples(scores, 0.95, None).contradicted
    assert [(one.probability, one.label) for one in found] == [(0.999, "no IDC"), (0.01, "IDC"), (0.96, "no IDC")]
    text = text_of(make_report(scores, pixels))
    assert re.search(r"\b3 patches of 4 that are labelled and confident", text)
    assert "label: no IDC" in text
    agreeing = text_of(make_report(*patient(probability=[0.99] * 4, label=[1] * 4)))
    assert re.search(r"\b0 patches of 4 that are labelled and confident", agreeing)
    assert "against the label" not in text_of(make_report(*patient())).lower()


def test_it_is_told_how_many_of_the_most_suspicious_are_confidently_idc(make_report, patient):
    for sure, told in ((0, "none of them"), (4, "4 of them"), (20, "10 of them")):
        assert told in text_of(make_report(*patient(probability=[0.99] * sure + [0.7] * (60 - sure))))


def test_fraction_coverage_agreement_and_outcome_have_intervals_that_say_of_what(make_report, patient):
    p = np.random.default_rng(2).beta(0.2, 0.4, 900)
    label = (np.random.default_rng(3).random(900) < p).astype(int).tolist()
    scores, pixels = patient(probability=p, label=label, columns=30)
    text, placed = text_of(make_report(scores, pixels)), PlacedPatches.of(scores, p)

    def ends(values, among=None):
        return " to ".join(f"{100 * end:.1f}" for end in placed.interval(values, among)) + " %"

    confident, called = is_confident(p, 0.95), p >= 0.5
    assert f"{100 * p.mean():.1f} % {ends(p)} predicted tumour fraction" in text
    assert f"{100 * confident.mean():.1f} % {ends(confident)} coverage" in text
    assert f"{ends(called)}, and {ends(np.array(label))} called IDC" in text
    assert f"interval {ends(called == np.array(label), confident)} , of" in text
    assert f"{100 * (confident & called).mean():.1f} % {ends(confident & called)}" in text
    assert "IDC found the intervals allow no other" in text
    assert f"the 900 count as {placed.draws:.0f} independent ones" in text


def test_an_outcome_that_the_intervals_do_not_decide_names_the_others(make_report, patient):
    text = text_of(make_report(*patient(probability=[0.01] * 899 + [0.99], columns=30)))
    assert "IDC not found the intervals allow also: IDC found" in text


def test_too_little_tissue_has_no_interval_and_it_is_said_why(make_report, patient):
    text = text_of(make_report(*patient(probability=[0.7])))
    said = re.search(r"No intervals: they take at least (\d+) patches .* at least (\d+) patches across", text)
    assert said.groups() == (str(MIN_PATCHES), str(LEAST_ACROSS))
    assert "70.0 % n/a predicted tumour fraction" in text
    assert "patches interval: n/a" in text


def test_a_slide_of_middling_size_is_said_to_have_intervals_that_are_too_narrow(make_report, patient):
    def said(edge):
        p = np.random.default_rng(2).beta(0.2, 0.4, edge * edge)
        return re.search(
            r"tissue is (\d+) patches across, .* held the truth in (\d+) to (\d+)&nbsp;%",
            text_of(make_report(*patient(probability=p, columns=edge))),
        )

    assert said(30).groups() == ("30", *(f"{100 * share:.0f}" for share in HELD_BELOW))
    assert said(WIDE_ACROSS) is None


def test_thousands_that_others_write_with_a_comma_are_parted_as_the_report_s(make_report, patient):
    trained = Exposure("train", False, "1,640 of the 1,640 patches are among those that it learned from, by 2,5.")
    text = make_report(*patient(), exposure=trained, warnings=["12,345,678 patches."])
    assert "1\u202f640 of the 1\u202f640 patches" in text
    assert ("12\u202f345\u202f678 patches" in text, "by 2,5." in text) == (True, True)


def test_it_says_what_certified_thresholds_promise(make_report, patient):
    def certify(threshold):
        return CertifiedThreshold(
            target_error=0.05,
            confidence=0.95,
            threshold=threshold,
            n_patients=70,
            patients_needed=61,
            tested=0.9,
            error=0.01,
            bound=0.04,
            error_pooled=0.02,
            coverage=0.8,
            patients=70,
        )

    def told(threshold, **changed):
        policy = Policy(
            calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.8,), certified=(certify(threshold),)
        )
        return make_report(*patient(), record=record_with(policy), **changed)

    for threshold, at_95 in ((0.873, True), (0.97, False), (None, False)):
        html = told(threshold)
        data = json.loads(re.search(r'id="scores">(.*?)</script>', html, re.DOTALL)[1])
        told_at = zip(data["levels"], data["told"][0], strict=True)
        promises = {level: each["promise"].replace("\u00a0", " ") for (level, _), each in told_at}
        assert ("at most 5 %" in promises[0.95]) == at_95
        assert promises[0.95] in unescape(html).replace("\u00a0", " ")
        assert "at most 5 %" not in promises[0.5]
        assert "at most 5 %" not in promises[0.999]  # stricter than what was tested
        if threshold:
            assert "at most 5 %" in promises[threshold]  # the slider has that level
            assert f"{100 * threshold:g} %" in promises[0.5]
        else:
            assert "not certifiable with 70 patients" in promises[0.95]
    assert "No threshold was certified" in text_of(make_report(*patient()))
    foreign = Drift(level="fine", foreign=True, patients=1, known=230, p=0.4)
    assert "may be unlike them" in text_of(told(0.873, drift=foreign))
    assert "may be unlike them" not in text_of(told(0.873))


def test_without_pictures_it_shows_no_tissue_and_says_so(make_report, patient):
    scores, pixels = patient(label=[0] * 85 + [1] * 15)
    html = make_report(scores, pixels, options=ScoreOptions(pictures="none"))
    kinds = [kind for kind, _ in DATA_URI.findall(html)]
    assert kinds == ["png", "png"]  # the map's colours, and its legend
    assert html.count("<figure>") == 1
    assert "without its tissue" in text_of(html)
    assert len(re.findall(r'data-x="(\d+)"', html)) == 25


def test_a_report_of_3000_patches_keeps_every_pixel_and_is_under_3_megabytes(make_report, patient):
    scores, pixels = patient(probability=np.random.default_rng(0).random(3000), label=[0, 1] * 1500, columns=55)
    pixels = np.stack([cv2.GaussianBlur(each, (0, 0), 2.5) for each in pixels])  # as smooth as tissue
    html = make_report(scores, pixels)
    assert len(html.encode()) < 3_000_000
    assert "picture is reduced" not in text_of(html)


def test_a_report_of_many_noisy_slides_is_reduced_and_says_so(make_report, patient):
    scores, pixels = patient(probability=np.random.default_rng(0).random(3000))
    pixels = np.random.default_rng(1).integers(0, 256, pixels.shape, dtype=np.uint8)
    html = make_report(scores.assign(slide=[str(i * 4 // 3000) for i in range(3000)]), pixels)
    assert html.count("<figure>") == 8
    assert text_of(html).count("picture is reduced") == 4
    assert len(html.encode()) < 3_000_000


def test_the_budget_leaves_room_for_the_scores_of_50000_patches():
    scores = 50_000 * (4 + 8 + 1) * 4 / 3  # cell, probability, label in base64
    assert slide_picture_budget(50_000, 50_000) * 4 / 3 + scores < 2_900_000
    assert slide_picture_budget(1_000_000, 1_000_000) > 0


def test_it_is_read_without_being_seen_and_fits_the_screen_and_the_page(
    make_report, patient, read_page, measure_page
):
    html = make_report(*patient(label=[0] * 85 + [1] * 15))
    read = read_page(html)
    assert len(read.contents) == html.count("<h2") + 25  # each patch that is shown leads to its slide
    assert html.count("<caption>") == 3
    names = re.findall(r'<svg[^>]*aria-label="([^"]*)"', html)
    assert re.search(r"\b5\b.*\b1001\b", names[0])
    assert "10.8\u00a0%" in names[1]
    assert all(re.search(rf'<label for="{each}"', html) for each in re.findall(r'<input id="(\w+)"', html))
    measure_page(html)
