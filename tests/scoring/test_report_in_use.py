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
from browser import open_browser

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
def browse(tmp_path):
    """Opens a page in a browser and returns what that prints."""

    def run(page: str, *arguments: str) -> str:
        path = tmp_path / "used.html"
        path.write_text(page, encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
        command += ["--window-size=1280,900", *arguments, path.as_uri()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    return run


@pytest.fixture
def use(browse):
    """Opens a page, runs a script on it and returns what the script returns."""

    def run(page: str, script: str, *, language="en-US"):
        done = f"JSON.stringify((() => {{ {script} }})())"
        last = f'<pre id="returned"></pre><script>document.getElementById("returned").textContent = {done}</script>'
        shown = browse(page.replace("</body>", last + "</body>"), f"--accept-lang={language}", "--dump-dom")
        returned = re.search(r'<pre id="returned">(.*?)</pre>', shown, re.DOTALL)[1]
        assert returned, "the page's script failed"
        return json.loads(markup.unescape(returned))

    return run


@pytest.fixture
def look(use, browse, tmp_path):
    """Opens a page, runs a script on it and returns what the script returns, and the screen in RGB."""

    def run(page: str, script: str):
        shown = page.replace("</body>", f"<script>(() => {{ {script} }})()</script></body>")
        browse(shown, "--window-size=1280,1800", f"--screenshot={tmp_path}/screen.png")
        return use(page, script), cv2.imread(str(tmp_path / "screen.png"))[..., ::-1]

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
    shown = f"{100 * share + 1e-9:.1f}"
    if 0 < share < 0.0005 or 0.9995 <= share < 1:
        shown = "<\u00a00.1" if share < 0.5 else ">\u00a099.9"
    return f"{shown}\u00a0%"


def expected(scores, level):
    p, label = scores["probability"].to_numpy(), scores["label"]
    confident, idc = is_confident(p, level), is_idc(p)
    known = confident & label.notna().to_numpy()
    counts = {"idc": confident & idc, "none": confident & ~idc, "open": ~confident}
    rows = {
        key: [f"{of.sum():,}".replace(",", "\u202f"), percent(of.mean()), f"{of.sum() * 0.04:.2f}\u00a0mm²"]
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
    assert "probability of IDC 98.0 % (alone 97.0 %, with its neighbours 98.0 %)" in after[2].replace("\u00a0", " ")
    assert after[2].endswith("; mean of its neighbours 60.0\u00a0%")


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
        assert shown["level"] == f"{100 * level:g}\u00a0%"
        wanted = expected(scores, level)
        assert {key: shown[key] for key in wanted} == wanted
        assert shown["told"][:4] == expected_ends(placed, scores, level)
        assert shown["told"][4]
        assert shown["spoken"].startswith(f"{100 * level:g} %, {wanted['idc'][0]} confidently IDC")
        layer = cv2.imdecode(np.frombuffer(base64.b64decode(shown["layer"][22:]), np.uint8), cv2.IMREAD_UNCHANGED)
        enlarged = layer.shape[1] // (scores["x"].max() // 50 + 3)
        cells = layer[enlarged // 2 :: enlarged, enlarged // 2 :: enlarged, [2, 1, 0, 3]].astype(int)
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
    reduced = re.search(r"The picture is reduced to (\d+)&nbsp;% in each direction", html)
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
          live: [told.getAttribute("role"), told.getAttribute("aria-live")], name: map.getAttribute("aria-label"),
        };
        """,
    )
    said = [each[0] for each in found["said"]]
    shape = re.compile(r"x (\d+), y (\d+): .* ([\d.]+)\s%, ([\w ]+)(?:; label: ([\w ]+))?")
    figures = [shape.fullmatch(one).groups() for one in said[:5]]
    assert figures[0] == ("51", "1", "99.0", "confidently IDC", "IDC")  # the most suspicious first
    assert figures[1] == ("101", "1", "60.0", "not confident", "IDC")
    assert figures[2] == figures[3] == ("101", "51", "50.0", "not confident", None)  # there is no row below
    assert figures[4] == ("51", "51", "97.0", "confidently IDC", "no IDC")
    whole, closer = found["said"][4][1], found["said"][5][1]
    assert whole == found["said"][6][1] == "0 0 250 200"
    assert closer == "62.5 62.5 125 100"  # twice as large about the patch
    assert (found["focused"], found["role"], found["live"]) == (True, "application", ["status", "polite"])
    assert "rrow" in found["name"]  # keys that it answers to


def test_the_map_is_pointed_at_dragged_zoomed_and_made_faint(make_patches, make_report, use):
    html = make_report(*scored(make_patches, GRID, columns=3))
    found = use(
        html,
        """
        const [slide, map] = document.querySelectorAll("svg"), told = document.querySelector(".picked");
        const at = (x, y) => { // a point of the slide on the screen
          const point = new DOMPoint(x, y).matrixTransform(map.getScreenCTM());
          return {clientX: point.x, clientY: point.y, pointerType: "mouse", pointerId: 1, isPrimary: true};
        };
        map.setPointerCapture = () => {};
        const send = (name, x, y) => map.dispatchEvent(new PointerEvent(name, at(x, y)));
        send("pointermove", 175, 75);
        const hovered = told.textContent, aloud = told.getAttribute("aria-live");
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
          hovered, aloud, outside, zoomed, bar, dragged, linked: told.textContent,
          faint: getComputedStyle(document.querySelector(".layer")).opacity,
          mark: map.querySelector(".mark").getAttribute("visibility"),
        };
        """,
    )
    assert found["hovered"] == found["outside"]
    assert found["aloud"] == "off"  # a screen reader is not told each patch that the mouse passes
    assert re.match(r"x 101, y 1: .* 60\.0\s%", found["hovered"])
    assert found["zoomed"] == "87.5 37.5 125 100"
    assert found["bar"] == "100 µm"
    x, y, *_ = map(float, found["dragged"][0].split())
    assert (x, y) == pytest.approx((97.5, 42.5), abs=0.2)
    assert found["dragged"][0] == found["dragged"][1]
    assert found["faint"] == "0.3"
    assert re.match(r"x 51, y 51: .* 97\.0\s%", found["linked"])
    assert found["mark"] == "visible"


def test_the_map_is_tapped_and_dragged_by_one_finger_and_left_to_the_page_where_it_is_whole(
    make_patches, make_report, use
):
    found = use(
        make_report(*scored(make_patches, GRID, columns=3)),
        """
        const map = document.querySelector("svg.map"), told = document.querySelector(".picked");
        map.setPointerCapture = () => {};
        const touch = (name, x, y, more = {}) => {
          const point = new DOMPoint(x, y).matrixTransform(map.getScreenCTM());
          const at = {clientX: point.x, clientY: point.y, pointerType: "touch", pointerId: 1, isPrimary: true};
          map.dispatchEvent(new PointerEvent(name, {...at, ...more}));
        };
        const seen = () => [map.getAttribute("viewBox"), getComputedStyle(map).touchAction];
        touch("pointerdown", 175, 75);
        const tapped = [told.textContent, told.getAttribute("aria-live")];
        touch("pointermove", 75, 75);
        const moved = [told.textContent, ...seen()];
        touch("pointercancel", 75, 75); // the browser scrolls the page
        document.querySelector('[data-zoom="2"]').click();
        touch("pointerdown", 120, 100);
        const second = {pointerId: 2, isPrimary: false};
        touch("pointerdown", 190, 120, second);
        touch("pointermove", 200, 130, second);
        const held = seen();
        touch("pointermove", 110, 95);
        touch("pointerup", 110, 95);
        return {tapped, moved, held, dragged: seen()};
        """,
    )
    assert re.match(r"x 101, y 1: .* 60\.0\s%", found["tapped"][0])
    assert found["tapped"][1] == "polite"
    assert found["moved"] == [found["tapped"][0], "0 0 250 200", "auto"]
    assert found["held"] == ["87.5 37.5 125 100", "none"]  # a second finger moves nothing
    assert [float(each) for each in found["dragged"][0].split()] == pytest.approx([97.5, 42.5, 125, 100], abs=0.2)


def test_a_finger_on_the_glass_picks_a_patch_and_moves_what_is_zoomed(make_patches, make_report, tmp_path):
    make_report(*scored(make_patches, GRID, columns=3))
    with open_browser(tmp_path) as page:
        page.open((tmp_path / "report.html").as_uri())
        page.wait_for("the map", "document.querySelector('[data-zoom]:enabled') !== null")

        def touch(*points):
            script = "new DOMPoint({}, {}).matrixTransform(document.querySelector('.map').getScreenCTM()).toJSON()"
            on_screen = [page.run(script.format(*at)) for at in points]
            for kind, at in zip(["touchStart"] + ["touchMove"] * (len(points) - 1), on_screen, strict=True):
                page.touch(kind, at["x"], at["y"])
            page.touch("touchEnd")

        page.run("document.querySelector('.map').scrollIntoView({block: 'end'})")
        touch((175, 75))
        assert re.match(r"x 101, y 1: .* 60\.0\s%", page.run("document.querySelector('.picked').textContent"))
        page.run("document.querySelector('[data-zoom]').click()")
        before = page.run("document.querySelector('.map').getAttribute('viewBox')"), page.run("scrollY")
        touch((150, 110), (150, 100), (150, 90), (150, 80))
        after = page.run("document.querySelector('.map').getAttribute('viewBox')"), page.run("scrollY")
        assert float(after[0].split()[1]) == pytest.approx(float(before[0].split()[1]) + 30, abs=1)
        assert after[1] == before[1]  # the page stays


def test_what_has_the_focus_is_not_under_the_controls(make_patches, make_report, use):
    found = use(
        make_report(*scored(make_patches, GRID, columns=3)),
        """
        return [...document.querySelectorAll("#counts, .tools button:enabled, .map")].map(part => {
          scrollTo(0, part.getBoundingClientRect().top + scrollY); // under them
          (part.closest("[tabindex]") || part).focus();
          const over = document.querySelector(".controls").getBoundingClientRect();
          return [part.getBoundingClientRect().top, over.bottom];
        });
        """,
    )
    assert len(found) == 3
    assert all(top >= bottom for top, bottom in found)


def test_what_is_dragged_is_moved_by_buttons_too(make_patches, make_report, use):
    found = use(
        make_report(*scored(make_patches, GRID, columns=3)),
        """
        const map = document.querySelector("svg.map");
        const buttons = [...document.querySelectorAll("[data-pan]")];
        const whole = buttons.map(button => button.disabled);
        document.querySelector('[data-zoom="2"]').click();
        const seen = buttons.map(button => {
          button.click();
          return [button.getAttribute("aria-label").split(" ")[1], map.getAttribute("viewBox")];
        });
        return {whole, seen};
        """,
    )
    assert found["whole"] == [True] * 4
    assert found["seen"] == [
        ["left", "0 50 125 100"],  # from the middle, by half of what is seen, and not off the slide
        ["right", "62.5 50 125 100"],
        ["up", "62.5 0 125 100"],
        ["down", "62.5 50 125 100"],
    ]


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


DARK = "(prefers-color-scheme: dark)"

PARTS = """
const box = part => ["left", "top", "width", "height"].map(side => part.getBoundingClientRect()[side]);
const [map, slider, button] = ["svg.map", "#level", "[data-zoom]"].map(each => document.querySelector(each));
slider.value = 0;
map.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
map.focus({focusVisible: true, preventScroll: true});
return {slider: box(slider), button: box(button), map: box(map), mark: box(map.querySelector(".mark")),
        line: box(map.querySelector(".labelled"))};
"""


def contrast(pixels: np.ndarray) -> float:
    """Of the lightest and the darkest pixel, as WCAG counts it."""
    share = pixels.reshape(-1, 3) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722]
    return float((light.max() + 0.05) / (light.min() + 0.05))


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_no_text_is_told_from_its_ground_in_light_and_dark(dark, make_patches, make_report, look):
    scores, pixels = scored(make_patches, GRID, [0, 0, 0, 0, 0, 1], columns=3)
    pixels[:] = (205, 130, 185)  # tissue, in the middle between light and dark
    html = make_report(scores, pixels)
    html = html.replace(DARK, "(min-width: 1px)") if dark else html
    boxes, seen = look(html, PARTS)

    def across(box: str, left: float, right: float, *, down: float = 0.5) -> float:
        x, y, _, height = boxes[box]
        row = round(y + down * height)
        return contrast(seen[row : row + 1, round(x + left) : round(x + right)])

    x, y, width, height = boxes["slider"]
    middle = round(x + width / 2)
    assert contrast(seen[round(y) : round(y + height), middle : middle + 1]) >= 3  # its track
    thumb = seen[round(y) : round(y + height), round(x) + 12][:, None]
    assert contrast(thumb) >= 3
    assert across("button", -4, 3) >= 3  # its border
    assert across("map", -9, -1) >= 3  # the ring of what has the focus
    assert across("mark", -6, 6) >= 3  # on the tissue, and on whatever colour lies over it
    assert across("line", -6, 6, down=0.3) >= 3


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_it_prints_as_two_pages_of_a4_that_hold_legend_and_counts(make_patches, make_report, browse, tmp_path):
    p, label = many()
    html = make_report(*scored(make_patches, p, label, columns=55))
    browse(html, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path}/report.pdf")
    command = ["pdftotext", "-raw", str(tmp_path / "report.pdf"), "-"]
    *pages, end = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\f")
    assert (len(pages), end) == (2, "")
    first = " ".join(pages[0].split())
    wanted = expected(scored(make_patches, p, label, columns=55)[0], 0.95)
    for key, name in (("idc", "confidently IDC"), ("none", "confidently not IDC"), ("open", "not confident")):
        number, share, size = (" ".join(each.split()) for each in wanted[key])
        assert re.search(f"{name} {number} {share} .*{size}", first)
    for said in ("Probability of IDC", "0 % 50 % 100 %", "confidently IDC, ≥ 95 %", "labelled IDC region"):
        assert said in first
    assert "Research use only" in first
    assert "Map opacity" not in "".join(pages)  # what nobody can move on paper


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
