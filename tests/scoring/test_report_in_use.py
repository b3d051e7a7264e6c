"""The report in a browser: what is moved, pointed at and typed, and the numbers it then shows against NumPy's."""

from __future__ import annotations

import base64
import html as markup
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.outcome import OutcomeRule
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.context import Context
from bcd.evaluation.policy.policy import Policy
from bcd.scoring.heatmap import overlay
from bcd.scoring.intervals import PlacedPatches
from bcd.scoring.options import ScoreOptions

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")


@pytest.fixture
def use(tmp_path):
    """Opens a page, runs a script on it and returns what the script returns."""

    def run(page: str, script: str, *, language="en-US"):
        done = f"JSON.stringify((() => {{ {script} }})())"
        last = f'<pre id="returned"></pre><script>document.getElementById("returned").textContent = {done}</script>'
        path = tmp_path / "used.html"
        path.write_text(page.replace("</body>", last + "</body>"), encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
        command += [f"--accept-lang={language}", "--window-size=1280,900", "--dump-dom", path.as_uri()]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        returned = re.search(r'<pre id="returned">(.*?)</pre>', shown, re.DOTALL)[1]
        assert returned, "the page's script failed"
        return json.loads(markup.unescape(returned))

    return run


MOVE = """
const read = name => document.querySelector(`[data-${name}]`).textContent;
const slider = document.getElementById("level");
const levels = JSON.parse(document.getElementById("scores").textContent).levels.map(each => each[0]);
return LEVELS.map(level => {
  if (level !== null) {
    slider.value = levels.indexOf(level);
    slider.dispatchEvent(new Event("input"));
  }
  const row = key => ["n", "share", "area"].map(what => read(`${what}="${key}"`));
  const agreement = document.querySelector("[data-agreement]");
  const told = key => document.querySelector(`[data-told="${key}"]`).textContent;
  return {
    told: ["idc", "none", "open", "coverage", "promise"].map(told),
    level: read("level"), idc: row("idc"), none: row("none"), open: row("open"), coverage: read("coverage"),
    agreement: agreement && agreement.textContent, spoken: slider.getAttribute("aria-valuetext"),
    layer: document.querySelector("svg .colours").getAttribute("href"),
    language: navigator.language, number: (1234.5).toLocaleString(),
  };
});
"""

LEVELS = (0.5, 0.8, 0.95, 0.99, 0.9999)


def scored(make_patches, probability, label=None, columns=10):
    n = len(probability)
    cells = [(i % columns, i // columns) for i in range(n)]
    patches, pixels = make_patches(cells, labels=label if label is not None else [None] * n)
    return patches.assign(probability=np.asarray(probability, np.float64)), pixels


def percent(share):
    return "> 99.9 %" if 0.9995 <= share < 1 else "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share + 1e-9:.1f} %"


def expected(scores, level):
    p, label = scores["probability"].to_numpy(), scores["label"]
    confident, idc = is_confident(p, level), is_idc(p)
    known = confident & label.notna().to_numpy()
    counts = {"idc": confident & idc, "none": confident & ~idc, "open": ~confident}
    rows = {
        key: [f"{of.sum():,}".replace(",", "\u202f"), percent(of.mean()), f"{of.sum() * 0.04:.2f} mm²"]
        for key, of in counts.items()
    }
    agreeing = (idc == (label == 1).fillna(False).to_numpy(bool))[known]
    agreement = percent(agreeing.mean()) if known.sum() >= 30 else "n/a"
    return {**rows, "coverage": percent(confident.mean()), "agreement": agreement if label.notna().any() else None}


def expected_ends(placed, scores, level):
    p = scores["probability"].to_numpy()
    confident, idc = is_confident(p, level), is_idc(p)
    found = [placed.interval(of) for of in (confident & idc, confident & ~idc, confident)]
    found.insert(2, found[2] and (1 - found[2][1], 1 - found[2][0]))
    return [(ends and f"{percent(ends[0])[:-2]} to {percent(ends[1])[:-2]}\u00a0%") or "n/a" for ends in found]


def many():
    """Three thousand, a few of them exactly at a level, half of them labelled."""
    rng = np.random.default_rng(7)
    p = 1 / (1 + np.exp(-rng.normal(0, 3, 3000)))
    p[:6] = [0.95, 1 - 0.95, 0.5, 0.99, 0.2, 0.8]
    return p, [*rng.integers(0, 2, 1500), *[None] * 1500]


JOIN = """
const box = document.getElementById("neighbours");
const told = () => document.querySelector('[data-n="idc"]').textContent;
const before = [told(), document.getElementById("joined").hidden];
box.click();
const point = document.querySelector(".map");
point.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
const after = [told(), document.getElementById("joined").hidden, document.querySelector(".picked").textContent];
box.click();
return [before, after, [told(), document.getElementById("joined").hidden]];
"""


def test_the_toggle_shows_the_patches_with_their_neighbours_and_back(make_patches, make_report, use):
    scores, pixels = scored(make_patches, [0.97, 0.6, 0.2, 0.2])
    stage = Context(own=0.5, neighbours=1.0, intercept=0.0, n_patients=3)
    policy = Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.8,), context=stage)
    record = SimpleNamespace(snapshot="abc123", created_at=datetime(2026, 11, 20, tzinfo=UTC), policy=policy)
    scores["context_probability"] = [0.98, 0.96, 0.1, 0.01]
    before, after, again = use(make_report(scores, pixels, record=record, complete=True), JOIN)
    assert before == again == ["1", True]
    assert after[:2] == ["2", False]
    assert "probability of IDC 98.0 % (alone 97.0 %, with its neighbours 98.0 %)" in after[2]
    assert after[2].endswith("; mean of its neighbours 60.0 %")


CASES = {
    "one patch": ([0.7], None),
    "one class": ([0.01] * 40, [0] * 40),
    "sixteen, where a share of one is a tie": ([0.97] + [0.2] * 15, None),
    "three thousand": many(),
}


@pytest.mark.parametrize("case", CASES)
def test_the_slider_shows_what_numpy_counts_and_recolours_the_map(case, make_patches, make_report, use):
    scores, pixels = scored(make_patches, *CASES[case], columns=55)
    html = make_report(scores, pixels)
    assert len(html) < 3_000_000
    found = use(html, MOVE.replace("LEVELS", json.dumps([None, *LEVELS])))
    placed = PlacedPatches.of(scores, scores["probability"].to_numpy())
    assert (found[0] | {"spoken": ""}) == (found[1 + LEVELS.index(0.95)] | {"spoken": ""})  # as it was opened
    for level, shown in zip(LEVELS, found[1:], strict=True):
        assert shown["level"] == f"{100 * level:g} %"
        wanted = expected(scores, level)
        assert {key: shown[key] for key in wanted} == wanted
        assert shown["told"][:4] == expected_ends(placed, scores, level)
        assert shown["told"][4]
        assert shown["spoken"].startswith(f"{100 * level:g} %, {wanted['idc'][0]} confidently IDC")
        layer = cv2.imdecode(np.frombuffer(base64.b64decode(shown["layer"][22:]), np.uint8), cv2.IMREAD_UNCHANGED)
        cells = layer[4::8, 4::8, [2, 1, 0, 3]].astype(int)
        at = cells[(scores["y"] // 50 + 1).to_numpy(), (scores["x"] // 50 + 1).to_numpy()]
        if level > 0.5:  # a rule needs more than one half
            options = ScoreOptions(outcome=OutcomeRule(level=level))
            colours = overlay(scores["probability"].to_numpy(), options)
            assert (at[:, 3] == colours[:, 3]).all()
            assert np.abs(at - colours).max() <= 6  # a canvas keeps faint colours less exactly
        assert (cells[..., 3] > 0).sum() == len(scores)


def test_a_slide_of_50000_patches_is_reduced_and_still_counts_every_patch(make_patches, make_report, use):
    few, pixels = scored(make_patches, np.random.default_rng(5).random(50))
    n, columns = 50_000, 250
    pixels = np.stack([cv2.GaussianBlur(each, (0, 0), 2) for each in pixels])[np.arange(n) % 50]
    many = few.iloc[np.arange(n) % 50].reset_index(drop=True)
    many = many.assign(x=[50 * (i % columns) + 1 for i in range(n)], y=[50 * (i // columns) + 1 for i in range(n)])
    html = make_report(many, pixels)
    assert len(html) < 3_000_000
    reduced = re.search(r"The picture is reduced to (\d+) % in each direction", html)
    assert 5 < int(reduced[1]) < 80
    [found] = use(html, MOVE.replace("LEVELS", "[0.8]"))
    wanted = expected(many, 0.8)
    assert {key: found[key] for key in wanted} == wanted


GERMAN = """<script>
const Formats = Intl.NumberFormat;
Intl.NumberFormat = class extends Formats { constructor(_, options) { super("de-DE", options); } };
Number.prototype.toLocaleString = function (_, options) { return new Intl.NumberFormat([], options).format(this); };
</script>"""


def test_numbers_are_the_same_where_the_comma_is_the_decimal_sign(make_patches, make_report, use):
    html = make_report(*scored(make_patches, *many(), columns=55))
    script = MOVE.replace("LEVELS", json.dumps(LEVELS))
    english = use(html, script)
    # Chromium has the numbers of all languages, but may be installed in English only.
    german = use(html.replace("<head>", "<head>" + GERMAN), script, language="de-DE,de")
    assert {each.pop("language") for each in german} == {"de-DE"}
    assert {each.pop("number") for each in german} == {"1.234,5"}
    assert {each.pop("language") for each in english} == {"en-US"}
    assert {each.pop("number") for each in english} == {"1,234.5"}
    assert german == english


GRID = [0.01, 0.99, 0.6, 0.02, 0.97, 0.5]  # two rows of three


def test_the_map_is_used_with_the_keyboard(make_patches, make_report, use):
    html = make_report(*scored(make_patches, GRID, [0, 1, 1, 0, 0, None], columns=3))
    found = use(
        html,
        """
        const map = document.querySelector("svg.map"), told = document.querySelector(".picked");
        map.focus();
        const said = ["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "+", "0"].map(key => {
          map.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
          return [told.textContent, map.getAttribute("viewBox")];
        });
        return {
          said, focused: document.activeElement === map, role: map.getAttribute("role"),
          live: told.getAttribute("role"), name: map.getAttribute("aria-label"),
        };
        """,
    )
    said = [each[0] for each in found["said"]]
    shape = re.compile(r"x (\d+), y (\d+): .* ([\d.]+) %, ([\w ]+)(?:; label: ([\w ]+))?")
    figures = [shape.fullmatch(one).groups() for one in said[:5]]
    assert figures[0] == ("51", "1", "99.0", "confidently IDC", "IDC")  # the most suspicious first
    assert figures[1] == ("101", "1", "60.0", "not confident", "IDC")
    assert figures[2] == figures[3] == ("101", "51", "50.0", "not confident", None)  # there is no row below
    assert figures[4] == ("51", "51", "97.0", "confidently IDC", "no IDC")
    whole, closer = found["said"][4][1], found["said"][5][1]
    assert whole == found["said"][6][1] == "0 0 250 200"
    assert closer == "62.5 62.5 125 100"  # twice as large about the patch
    assert (found["focused"], found["role"], found["live"]) == (True, "application", "status")
    assert "rrow" in found["name"]  # keys that it answers to


def test_the_map_is_pointed_at_dragged_zoomed_and_made_faint(make_patches, make_report, use):
    html = make_report(*scored(make_patches, GRID, columns=3))
    found = use(
        html,
        """
        const [slide, map] = document.querySelectorAll("svg"), told = document.querySelector(".picked");
        const at = (x, y) => { // a point of the slide on the screen
          const point = new DOMPoint(x, y).matrixTransform(map.getScreenCTM());
          return {clientX: point.x, clientY: point.y, pointerType: "mouse", pointerId: 1, bubbles: true};
        };
        map.setPointerCapture = () => {};
        const send = (name, x, y) => map.dispatchEvent(new PointerEvent(name, at(x, y)));
        send("pointermove", 175, 75);
        const hovered = told.textContent;
        send("pointermove", 20, 20);
        const outside = told.textContent;
        document.querySelector('[data-zoom="2"]').click();
        const zoomed = map.getAttribute("viewBox"), bar = document.querySelector("[data-bar]").textContent;
        const down = at(120, 100), moved = at(110, 95);
        map.dispatchEvent(new PointerEvent("pointerdown", down));
        map.dispatchEvent(new PointerEvent("pointermove", moved));
        map.dispatchEvent(new PointerEvent("pointerup", moved));
        const dragged = [map.getAttribute("viewBox"), slide.getAttribute("viewBox")];
        document.querySelector('[data-zoom="0"]').click();
        const opacity = document.getElementById("opacity");
        opacity.value = 30;
        opacity.dispatchEvent(new Event("input"));
        document.querySelectorAll("a[data-slide]")[1].click();
        return {
          hovered, outside, zoomed, bar, dragged, linked: told.textContent,
          faint: getComputedStyle(document.querySelector(".layer")).opacity,
          mark: map.querySelector(".mark").getAttribute("visibility"),
        };
        """,
    )
    assert found["hovered"] == found["outside"]
    assert re.match(r"x 101, y 1: .* 60\.0 %", found["hovered"])
    assert found["zoomed"] == "87.5 37.5 125 100"
    assert found["bar"] == "100 µm"
    x, y, *_ = map(float, found["dragged"][0].split())
    assert (x, y) == pytest.approx((97.5, 42.5), abs=0.2)
    assert found["dragged"][0] == found["dragged"][1]
    assert found["faint"] == "0.3"
    assert re.match(r"x 51, y 51: .* 97\.0 %", found["linked"])
    assert found["mark"] == "visible"


CONTRAST = """
const channels = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => channels(colour).slice(0, 3).map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = part => {
  for (; part; part = part.parentElement) {
    const colour = getComputedStyle(part).backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0) return colour;
  }
  return "rgb(255, 255, 255)";
};
const faults = [], grounds = new Set();
let parts = 0;
for (const part of document.querySelectorAll("main *")) {
  const writes = [...part.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
  if (!writes || !part.getClientRects().length || part.closest("script, button:disabled")) continue;
  const [one, other] = [light(getComputedStyle(part).color), light(ground(part))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  parts++;
  grounds.add(ground(part));
  if (ratio < 4.5) faults.push([part.textContent.trim().slice(0, 40), ratio]);
}
return {faults, parts, ground: ground(document.querySelector("h1"))};
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_told_from_its_ground_in_light_and_dark(dark, make_patches, make_report, use):
    html = make_report(*scored(make_patches, [0.5] * 30 + [0.99], [0, 1] * 15 + [None]))
    if dark:
        assert "(prefers-color-scheme: dark)" in html
        html = html.replace("(prefers-color-scheme: dark)", "(min-width: 1px)")
    found = use(html, CONTRAST)
    assert found["faults"] == []
    assert found["parts"] > 80
    assert (found["ground"] == "rgb(255, 255, 255)") != dark


def test_the_legend_is_readable_in_print(make_patches, make_report, use):
    html = make_report(*scored(make_patches, [0.5] * 31, [0, 1] * 15 + [None]))
    printed = html.replace("@media print", "@media all").replace("@media screen", "@media not all")
    script = """
    const size = selector => parseFloat(getComputedStyle(document.querySelector(selector)).fontSize);
    const shown = selector => document.querySelector(selector).getClientRects().length > 0;
    return {
      sizes: [".legend li", ".legend .ends", ".bar"].map(size), strip: document.querySelector(".strip").clientHeight,
      controls: shown(".controls"), tools: shown(".tools"),
    };
    """
    found = use(printed, script)
    assert min(found["sizes"]) >= 10  # CSS pixels, 7.5 points
    assert found["strip"] >= 10
    assert (found["controls"], found["tools"]) == (False, False)
