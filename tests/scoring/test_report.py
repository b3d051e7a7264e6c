from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from bcd.scoring.exposure import Exposure
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import SlidePictures, write_report
from bcd.scoring.summary import summarise

OPTIONS = ScoreOptions()
TEST = Exposure("test", True, "Never seen in training, and nothing was chosen on this patient.")


@pytest.fixture
def pictures(tmp_path):
    made = []
    for name, colour in {"slide": (0, 0, 200), "heatmap": (200, 0, 0)}.items():  # BGR: red, blue
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), np.full((900, 1200, 3), colour, np.uint8))
        made.append(path)
    return SlidePictures("5", *made)


def write(path, pictures, *, probability=(0.01,) * 90 + (0.99,) * 10, label=None, **changed):
    n = len(probability)
    labels = pd.array([pd.NA] * n if label is None else label, dtype="Int8")
    scores = pd.DataFrame({"slide": "5", "probability": probability, "label": labels})
    facts = {
        "hospital": "east",
        "patient": "1001",
        "bundle": "bcd-idc/7",
        "record": SimpleNamespace(snapshot="abc123", created_at=datetime(2026, 11, 20, tzinfo=UTC)),
        "exposure": TEST,
        "protocol": "dealt",
        "summary": summarise(scores, OPTIONS, (0.8, 0.99)),
        "options": OPTIONS,
        "content": "f" * 64,
        "scored_at": datetime(2026, 11, 23, 4, tzinfo=UTC),
    }
    write_report(path, pictures=pictures, facts=facts | changed)
    return path.read_text("utf-8")


def text_of(html):
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_it_says_research_use_only_and_who_what_when(tmp_path, pictures):
    text = text_of(write(tmp_path / "report.html", [pictures]))
    for said in ["Research use only. Not for diagnosis.", "Hospital east", "Patient 1001", "bcd-idc/7", "abc123"]:
        assert said in text
    assert "scored by bcd-idc/7 on 23 November 2026" in text
    assert "Split: test. Never seen in training" in text
    assert "cannot say who has none" in text


def test_it_needs_neither_network_nor_scripts(tmp_path, pictures):
    html = write(tmp_path / "report.html", [pictures])
    assert "<script" not in html
    assert "http" not in html
    assert "url(" not in html
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]*)"', html))


def test_pictures_are_embedded_in_rgb_slide_first(tmp_path, pictures):
    html = write(tmp_path / "report.html", [pictures])
    colours = []
    for data in re.findall(r"base64,([^\"]+)", html):
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        colours.append(image[400, 400, ::-1].tolist())
    red, blue = colours
    assert red[0] > red[2] + 140
    assert blue[2] > blue[0] + 140


def test_values_are_escaped(tmp_path, pictures):
    html = write(tmp_path / "report.html", [pictures], hospital="<b>east</b>", protocol='"><script>alert(1)</script>')
    assert "<b>east</b>" not in html
    assert "&lt;b&gt;east&lt;/b&gt;" in html
    assert "<script" not in html


def test_labels_are_compared_only_where_there_are_any(tmp_path, pictures):
    without = text_of(write(tmp_path / "without.html", [pictures]))
    assert "none labelled" in without
    assert "agree with label" not in without
    assert "magenta" not in without
    labelled = text_of(write(tmp_path / "with.html", [pictures], label=[0] * 85 + [1] * 15))
    assert "predicted tumour fraction; labelled: 15.0 %" in labelled
    assert "≥ 95 % 100 100.0 % 10 95.0 %" in labelled


def test_a_share_that_is_not_quite_all_is_not_called_all(tmp_path, pictures):
    text = text_of(write(tmp_path / "report.html", [pictures], probability=[0.6] + [0.01] * 4999))
    assert "&gt; 99.9 % of patches confident" in text


def test_a_patient_that_was_trained_on_stands_out(tmp_path, pictures):
    trained = Exposure("train", False, "The model was trained on this patient, so these scores flatter it.")
    html = write(tmp_path / "report.html", [pictures], exposure=trained)
    assert 'class="exposure"' in html
    assert "so these scores flatter it" in html
    assert 'class="exposure unseen"' in write(tmp_path / "unseen.html", [pictures])


def test_a_report_of_many_slides_stays_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    many = []
    for slide in "1234":
        path = tmp_path / f"{slide}.png"
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 1.5))
        many.append(SlidePictures(slide, path, path))
    html = write(tmp_path / "report.html", many)
    assert html.count("<figure>") == 8
    assert len(html) < 3_000_000


def test_it_is_read_without_being_seen_and_fits_the_screen_and_the_page(tmp_path, pictures, read_page, measure_page):
    html = write(tmp_path / "report.html", [pictures], label=[0] * 85 + [1] * 15)
    read = read_page(html)
    assert len(read.contents) == html.count("<h2")
    assert len(read.captions) == 2
    assert "Slide 5 of patient 1001" in read.pictures[0]
    assert "10.8 % predicted tumour" in read.pictures[1]
    measure_page(html)
