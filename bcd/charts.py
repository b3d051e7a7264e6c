"""One look for every chart: readable in print, colour-blind safe (Okabe and Ito), the same bytes every time.

Examples:
        with page(path, title="Thresholds", note="29 patients", size=(7, 4)) as figure:
            figure.subplots().plot([0, 1], [0, 1], color=BLUE)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
"""Series, in this order; each also has a marker of its own, for print without colour."""

INK, MUTED, GRID = "#222222", "#6B6B6B", "#DDDDDD"

FOOTER = "bcd, research use only"

_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}

_INCH = 0.25
"""Height of a line of text with its air."""


@contextmanager
def page(path: Path, *, title: str, note: str, size: tuple[float, float]) -> Iterator[Figure]:
    """Yields a figure with title, note and footer that becomes the PNG `path` when the block ends.

    Args:
        path: The file to write, whole.
        title: What is shown.
        note: What it is of: split, patches, patients.
        size: Width and height of the drawing in inches, without title and footer.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = size[0], size[1] + 4 * _INCH
    line = _INCH / height
    with mpl.rc_context(_LOOK):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        left = 0.1 / width
        figure.get_layout_engine().set(rect=(0, 1.2 * line, 1, 1 - 3.6 * line), w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
        figure.text(left, 1 - 0.5 * line, title, fontsize=11, weight="bold", va="top")
        figure.text(left, 1 - 1.5 * line, note, fontsize=8, color=MUTED, va="top")
        figure.text(left, 0.4 * line, FOOTER, fontsize=7, color=MUTED, va="bottom")
        yield figure
        with whole_file(path) as file:
            figure.savefig(file, metadata={"Software": None})
