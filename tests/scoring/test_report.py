"""The report as a file: what it says, what it holds, how large it is. What its script does: test_report_in_use.py."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from bcd.scoring.exposure import Exposure
from bcd.scoring.report import pick_suspicious_patches, slide_picture_budget

DATA_URI = re.compile(r"data:image/(png|webp);base64,([A-Za-z0-9+/=]+)")


@pytest.fixture
def patient(make_patches):
    """A hundred patches, ten of them surely IDC."""

    def make(*, probability=(0.01,) * 90 + (0.99,) * 10, label=None, columns=10):
        n = len(probability)
        patches, pixels = make_patches([(i % columns, i // columns) for i in range(n)], labels=label or [None] * n)
        return patches.assign(probability=probability), pixels

    return make


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
    assert "confidently IDC 10 10.0 % 0.40 mm²" in text_of(html)
    assert re.search(r"not confident 0 0\.0 % 0\.00 mm²", text_of(html))


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
        assert said == f"{100 * p[at]:.1f} %"
        data = np.frombuffer(base64.b64decode(DATA_URI.fullmatch(picture)[2]), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert image.shape == (50, 50, 3)
        assert image.mean(axis=(0, 1)) == pytest.approx(pixels[at].mean(axis=(0, 1)), abs=6)


def test_of_few_patches_all_are_picked_and_equals_keep_their_order(patient):
    few, _ = patient(probability=[0.2, 0.9, 0.9])
    suspicious, uncertain = pick_suspicious_patches(few)
    assert suspicious.index.tolist() == [1, 2, 0]
    assert uncertain.index.tolist() == [0, 1, 2]


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
    assert len(read.contents) == html.count("<h2") + 20  # each patch that is shown leads to its slide
    assert html.count("<caption>") == 3
    names = re.findall(r'<svg[^>]*aria-label="([^"]*)"', html)
    assert re.search(r"\b5\b.*\b1001\b", names[0])
    assert "10.8 %" in names[1]
    assert all(re.search(rf'<label for="{each}"', html) for each in re.findall(r'<input id="(\w+)"', html))
    measure_page(html)
