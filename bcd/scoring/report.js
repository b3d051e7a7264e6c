"use strict";
// The report's map: recolours, counts, zooms and names patches. It writes numbers as the page does, in no locale.
(() => {
  const PATCH = 50, AREA = 0.04; // pixels; mm²
  const MEASURED = 30; // a rate on fewer patches is not given
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const facts = JSON.parse(document.getElementById("scores").textContent);
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
  const palette = facts.colours.match(/../g).map(pair => parseInt(pair, 16));
  const slides = facts.slides.map(slide => ({
    ...slide,
    cells: new Uint32Array(bytes(slide.cells)),
    probability: new Float64Array(bytes(slide.probability)),
    label: new Int8Array(bytes(slide.label)),
    context: slide.context ? new Float64Array(bytes(slide.context)) : null,
  }));
  // What is coloured and counted: each patch by itself, or with its neighbours where its slide is complete.
  for (const slide of slides) slide.alone = slide.probability;
  const total = slides.reduce((sum, slide) => sum + slide.cells.length, 0);
  let level = 0.5;

  const isConfident = p => Math.max(p, 1 - p) >= level;
  const isIdc = p => p >= 0.5;
  const count = number => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const area = patches => (patches * AREA).toFixed(2) + "\u00a0mm²";
  const length = microns => microns >= 1000 ? microns / 1000 + " mm" : microns + " µm";
  function percent(share) {
    let text = (100 * share).toFixed(1);
    if (text === "100.0" && share < 1) text = ">\u00a099.9";
    if (text === "0.0" && share > 0) text = "<\u00a00.1";
    return text + "\u00a0%";
  }
  const say = (selector, text) => all(selector).forEach(part => { part.textContent = text; });

  /** Colours as RGBA: of each probability, at its place among `size` pixels. */
  function paint(probability, places, size) {
    const pixels = new Uint8ClampedArray(4 * size);
    for (let i = 0; i < probability.length; i++) {
      const p = probability[i], at = 4 * (places ? places[i] : i), colour = 3 * Math.min(Math.floor(256 * p), 255);
      for (let channel = 0; channel < 3; channel++) pixels[at + channel] = palette[colour + channel];
      pixels[at + 3] = facts.alpha[isConfident(p) ? (isIdc(p) ? 0 : 2) : 1];
    }
    return pixels;
  }
  function address(pixels, width, height, enlarged = 1) {
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    const large = Object.assign(document.createElement("canvas"), {width: width * enlarged, height: height * enlarged});
    const onto = large.getContext("2d");
    onto.imageSmoothingEnabled = false;
    onto.drawImage(canvas, 0, 0, large.width, large.height);
    return large.toDataURL("image/png");
  }

  function countPatches() {
    const n = {idc: 0, none: 0, open: 0}, labels = {labelled: 0, agreeing: 0};
    for (const {probability, label} of slides) {
      for (let i = 0; i < probability.length; i++) {
        const confident = isConfident(probability[i]), idc = isIdc(probability[i]);
        n[confident ? (idc ? "idc" : "none") : "open"]++;
        if (confident && label[i] >= 0) {
          labels.labelled++;
          labels.agreeing += idc === (label[i] === 1);
        }
      }
    }
    return {n, ...labels};
  }

  const neighbours = document.getElementById("neighbours");
  function showNeighbours() {
    for (const slide of slides) slide.probability = neighbours.checked && slide.context ? slide.context : slide.alone;
    document.getElementById("joined").hidden = !neighbours.checked;
    showLevel();
  }
  const steps = document.getElementById("level"), opacity = document.getElementById("opacity");
  const ramp = Float64Array.from({length: 1000}, (_, i) => (i + 0.5) / 1000);
  const first = steps.value;
  function showLevel() {
    const [value, text] = facts.levels[steps.value];
    level = value;
    const {n, labelled, agreeing} = countPatches();
    for (const key of Object.keys(n)) {
      say(`[data-n=${key}]`, count(n[key]));
      say(`[data-share=${key}]`, percent(n[key] / total));
      say(`[data-area=${key}]`, area(n[key]));
    }
    say("[data-coverage]", percent((n.idc + n.none) / total));
    say("[data-labelled]", count(labelled));
    const told = facts.told[neighbours && neighbours.checked ? 1 : 0][steps.value];
    for (const [key, text] of Object.entries(told)) say(`[data-told=${key}]`, text);
    say("[data-agreement]", labelled >= MEASURED ? percent(agreeing / labelled) : "n/a");
    say("[data-level]", text + "\u00a0%");
    say("[data-high]", text);
    say("[data-low]", String(Number((100 * (1 - level)).toPrecision(6))));
    steps.setAttribute("aria-valuetext", `${text} %, ${count(n.idc)} confidently IDC, coverage ${percent((n.idc + n.none) / total)}`);
    document.getElementById("moved").hidden = steps.value === first;
    document.getElementById("strip").src = address(paint(ramp, null, 1000), 1000, 1);
    maps.forEach(map => map.colour());
  }
  function showOpacity() {
    all(".layer").forEach(layer => { layer.style.opacity = opacity.value / 100; });
    opacity.setAttribute("aria-valuetext", opacity.value + " %");
    say("[data-opacity]", opacity.value + " %");
  }

  /** One slide: the pair of pictures moves as one. */
  function openMap(section, slide) {
    const views = all("svg", section), map = section.querySelector(".map"), told = section.querySelector(".picked");
    const width = slide.columns * PATCH, height = slide.rows * PATCH;
    const most = 2 ** Math.max(Math.floor(Math.log2(Math.max(width, height) / (2 * PATCH))), 0);
    const found = new Map(Array.from(slide.cells, (cell, i) => [cell, i]));
    const view = {zoom: 1, x: 0, y: 0}; // upper left corner, in pixels of the slide
    let picked = -1;

    const place = i => ({column: slide.cells[i] % slide.columns, row: Math.floor(slide.cells[i] / slide.columns)});
    const limit = (value, high) => Math.min(Math.max(value, 0), high);
    function look() {
      view.x = limit(view.x, width - width / view.zoom);
      view.y = limit(view.y, height - height / view.zoom);
      for (const each of views) {
        each.setAttribute("viewBox", `${view.x} ${view.y} ${width / view.zoom} ${height / view.zoom}`);
        each.classList.toggle("zoomed", view.zoom > 1);
      }
      all("[data-bar]", section).forEach(bar => { bar.textContent = length(bar.dataset.bar / view.zoom); });
      all("[data-zoom]", section).forEach(button => {
        button.disabled = button.dataset.zoom === "2" ? view.zoom >= most : view.zoom <= 1;
      });
      all("[data-pan]", section).forEach(button => { button.disabled = view.zoom <= 1; });
    }
    function zoom(factor, x, y) { // about a point of the slide, which stays where it is
      const next = factor ? Math.min(Math.max(view.zoom * factor, 1), most) : 1;
      view.x = x - (x - view.x) * view.zoom / next;
      view.y = y - (y - view.y) * view.zoom / next;
      view.zoom = next;
      look();
    }
    function centre() {
      if (picked < 0) return [view.x + width / view.zoom / 2, view.y + height / view.zoom / 2];
      const {column, row} = place(picked);
      return [(column + 0.5) * PATCH, (row + 0.5) * PATCH];
    }
    function pick(i, {follow = false, aloud = true} = {}) {
      picked = i;
      const {column, row} = place(i);
      for (const mark of all(".mark", section)) {
        mark.setAttribute("x", column * PATCH);
        mark.setAttribute("y", row * PATCH);
        mark.setAttribute("visibility", "visible");
      }
      tell(aloud);
      const [x, y] = centre(), wide = width / view.zoom, high = height / view.zoom;
      if (follow && (x < view.x || x > view.x + wide || y < view.y || y > view.y + high)) {
        Object.assign(view, {x: x - wide / 2, y: y - high / 2});
        look();
      }
    }
    function tell(aloud) { // by a screen reader: what a key or a tap asks for, not each patch that the mouse passes
      if (picked < 0) return;
      told.setAttribute("aria-live", aloud ? "polite" : "off");
      const {column, row} = place(picked), p = slide.probability[picked], label = slide.label[picked];
      const around = slide.complete ? neighboursOf(picked).map(i => slide.alone[i]) : [];
      const mean = around.reduce((sum, each) => sum + each, 0) / around.length;
      const both = slide.context ? ` (alone ${percent(slide.alone[picked])}, with its neighbours ${percent(slide.context[picked])})` : "";
      const said = isConfident(p) ? (isIdc(p) ? "confidently IDC" : "confidently not IDC") : "not confident";
      told.textContent = `x ${(column + slide.column) * PATCH + 1}, y ${(row + slide.row) * PATCH + 1}: ` +
        `probability of IDC ${percent(p)}${both}, ${said}` +
        (around.length ? `; mean of its neighbours ${percent(mean)}` : "") +
        (label < 0 ? "" : `; label: ${label ? "IDC" : "no IDC"}`);
    }
    function neighboursOf(i) { // the up to eight that are there
      const {column, row} = place(i), there = [];
      for (const down of [-1, 0, 1]) {
        for (const right of [-1, 0, 1]) {
          const at = found.get((row + down) * slide.columns + column + right);
          if (at !== undefined && at !== i) there.push(at);
        }
      }
      return there;
    }
    function step(right, down) {
      let best = -1, least = Infinity;
      const from = place(picked);
      for (let i = 0; i < slide.cells.length; i++) {
        const to = place(i), along = right * (to.column - from.column) + down * (to.row - from.row);
        const aside = Math.abs(down * (to.column - from.column)) + Math.abs(right * (to.row - from.row));
        if (along > 0 && along + 3 * aside < least) [best, least] = [i, along + 3 * aside];
      }
      if (best >= 0) pick(best, {follow: true});
    }
    function pan(right, down) { // by half of what is seen
      view.x += right * width / view.zoom / 2;
      view.y += down * height / view.zoom / 2;
      look();
    }
    const KEYS = {
      ArrowRight: () => step(1, 0), ArrowLeft: () => step(-1, 0), ArrowDown: () => step(0, 1), ArrowUp: () => step(0, -1),
      "+": () => zoom(2, ...centre()), "=": () => zoom(2, ...centre()), "-": () => zoom(0.5, ...centre()), 0: () => zoom(0, 0, 0),
    };
    function point(event, svg) {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return [at.x, at.y];
    }
    function pickAt(event, svg, aloud) {
      const [x, y] = point(event, svg);
      const i = found.get(Math.floor(y / PATCH) * slide.columns + Math.floor(x / PATCH));
      if (i !== undefined) pick(i, {aloud});
    }
    for (const svg of views) {
      let grip = null;
      svg.addEventListener("pointerdown", event => {
        if (!event.isPrimary) return; // a second finger
        pickAt(event, svg, true);
        grip = view.zoom > 1 ? point(event, svg) : null;
        if (grip) svg.setPointerCapture(event.pointerId);
      });
      svg.addEventListener("pointermove", event => {
        if (!event.isPrimary) return;
        if (!grip) return event.pointerType === "mouse" ? pickAt(event, svg, false) : undefined;
        const [x, y] = point(event, svg);
        view.x += grip[0] - x;
        view.y += grip[1] - y;
        look();
      });
      for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { grip = null; });
      svg.addEventListener("dblclick", event => zoom(2, ...point(event, svg)));
      svg.addEventListener("wheel", event => { // Ctrl, or two fingers; else the page is scrolled
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        zoom(event.deltaY < 0 ? 2 : 0.5, ...point(event, svg));
      }, {passive: false});
    }
    map.setAttribute("role", "application");
    map.setAttribute("tabindex", "0");
    map.setAttribute("aria-roledescription", "map of patches");
    map.setAttribute("aria-label", map.getAttribute("aria-label") +
      ". Arrow keys go from patch to patch, plus and minus zoom, 0 shows the whole slide.");
    map.addEventListener("keydown", event => {
      if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (picked < 0) pick(slide.probability.reduce((best, p, i) => p > slide.probability[best] ? i : best, 0), {follow: true});
      else KEYS[event.key]();
    });
    all("[data-zoom]", section).forEach(button => {
      button.addEventListener("click", () => zoom(Number(button.dataset.zoom), ...centre()));
    });
    all("[data-pan]", section).forEach(button => {
      button.addEventListener("click", () => pan(...button.dataset.pan.split(" ").map(Number)));
    });
    look();
    return {
      colour() {
        const pixels = paint(slide.probability, slide.cells, slide.columns * slide.rows);
        section.querySelector(".colours").setAttribute("href", address(pixels, slide.columns, slide.rows, slide.enlarged));
        tell(false);
      },
      show(x, y) {
        zoom(0, 0, 0);
        pick(found.get(((y - 1) / PATCH - slide.row) * slide.columns + (x - 1) / PATCH - slide.column), {follow: true});
        zoom(Math.min(4, most), ...centre());
        map.focus({preventScroll: true});
      },
    };
  }

  all(".controls, .tools").forEach(part => { part.hidden = false; });
  const sections = all("section.slide"), maps = sections.map((section, i) => openMap(section, slides[i]));
  steps.addEventListener("input", showLevel);
  opacity.addEventListener("input", showOpacity);
  if (neighbours) neighbours.addEventListener("change", showNeighbours);
  all("a[data-slide]").forEach(link => link.addEventListener("click", () => {
    const at = sections.findIndex(section => section.dataset.slide === link.dataset.slide);
    maps[at].show(Number(link.dataset.x), Number(link.dataset.y));
  }));
  showLevel();
  showOpacity();
})();
