"""How often the gate promotes: challengers of known truth on made-up hospitals, against the number of gate patients.

A challenger that is worse by a margin must be promoted in at most 5 % of runs. How often an equal one and better ones
are promoted is the price, drawn against the number of gate patients; and what happens where several challengers, one
after the other, are judged on the same patients.

    .venv/bin/python benchmarks/statistics_gate.py --runs 60 --picture docs/images/gate-promotions.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scipy.stats import beta

from bcd.evaluation.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, page
from bcd.evaluation.tables import Table
from bcd.registry.gate_simulation import CHALLENGERS, OPTIONS, promotion_rate, simulate

SIZES = (15, 29, 49, 100, 150, 300)
LOOKS = (1, 2, 5, 10)
LOOK_SIZES = (29, 100)
PROMISED = 0.05
MORE = 3  # times as many hospitals for what must not be promoted
BAD = list(CHALLENGERS)[:3]
PICTURE = Path(__file__).parents[1] / "docs/images/gate-promotions.png"

_LOOK = (
    (ORANGE, "D", "-"),
    (ORANGE, "v", "--"),
    (ORANGE, "^", ":"),
    (PURPLE, "s", "-"),
    (INK, "o", "-"),
    (GREEN, "o", ":"),
    (GREEN, "s", "--"),
    (BLUE, "D", "-"),
)

Rates = dict[str, list[float]]


def main() -> None:
    """Prints the report and draws its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="hospitals of each kind and size (default 60)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    arguments = parser.parse_args()
    print(report(arguments.runs, arguments.picture))


def report(runs: int = 60, picture: Path = PICTURE) -> str:
    """Runs every simulation, draws the picture and returns the tables in Markdown; about ten minutes of one core."""
    rates = {
        name: [promotion_rate(challenger, n, runs=MORE * runs if name in BAD else runs) for n in SIZES]
        for name, challenger in CHALLENGERS.items()
    }
    repeated = {
        f"{name}, {n} patients": _repeat(name, n, max(1, runs // 4))
        for name in (*BAD[:2], "equal")
        for n in LOOK_SIZES
    }
    draw(rates, runs, picture)
    return f"{_verdict(rates, runs)}\n\n{_rates(rates, runs).markdown()}\n{_looks(repeated, runs).markdown()}"


def _repeat(name: str, n_patients: int, runs: int) -> list[float]:
    promoted = simulate(CHALLENGERS[name], n_patients, runs=runs, looks=max(LOOKS))
    return [float(promoted[:, :looks].any(axis=1).mean()) for looks in LOOKS]


def draw(rates: Rates, runs: int, path: Path) -> None:
    """Draws the share of promotions against the number of gate patients."""
    note = f"{runs} to {MORE * runs} made-up hospitals each; rule {OPTIONS.rule}, margins {OPTIONS.margin:g} of AUROC"
    note += f" and {OPTIONS.rate_margin:g} of recall and specificity"
    with page(path, title="How often the gate promotes", note=note, size=(7.6, 4.4)) as figure:
        axes = figure.subplots()
        for (name, values), (colour, marker, line) in zip(rates.items(), _LOOK, strict=True):
            shares = [100 * value for value in values]
            axes.plot(SIZES, shares, color=colour, marker=marker, linestyle=line, markersize=5, label=name)
        axes.axhline(100 * PROMISED, color=MUTED, linewidth=0.8)
        axes.annotate("at most 5 % for one worse by a margin", (SIZES[0], 6), fontsize=8, color=MUTED, va="bottom")
        axes.set(xscale="log", ylim=(-2, 102), xlabel="gate patients", ylabel="promoted, % of hospitals")
        axes.set_xticks(SIZES, [str(n) for n in SIZES])
        axes.minorticks_off()
        axes.legend(title="the challenger in truth", loc="upper left", bbox_to_anchor=(1.01, 1))


def _verdict(rates: Rates, runs: int) -> str:
    worst, name, n = max((rate, name, n) for name in BAD for rate, n in zip(rates[name], SIZES, strict=True))
    low = beta.ppf(0.025, worst * MORE * runs, (1 - worst) * MORE * runs + 1) if worst else 0.0
    mean = sum(sum(rates[name]) for name in BAD) / (len(BAD) * len(SIZES))
    held = "kept" if low <= PROMISED else "**broken**"
    every = MORE * runs * len(BAD) * len(SIZES)
    return (
        f"The promise of 5 % is {held}: a challenger that is worse by a margin is promoted in {_percent(mean)} of "
        f"all {every:,} runs, and at most in {_percent(worst)} of the {MORE * runs} of one kind and size ({name}; "
        f"{n} gate patients)."
    )


def _rates(rates: Rates, runs: int) -> Table:
    caption = (
        f"Share of {runs} hospitals ({MORE * runs} for the first three challengers) in which the challenger is "
        "promoted, by the number of gate patients."
    )
    rows = [[name, *map(_percent, values)] for name, values in rates.items()]
    return Table(caption, ["the challenger in truth", *map(str, SIZES)], rows)


def _looks(repeated: Rates, runs: int) -> Table:
    caption = (
        f"Share of {max(1, runs // 4)} hospitals in which at least one of k such challengers is promoted, all judged "
        "on the same gate patients against the same champion."
    )
    rows = [[name, *map(_percent, values)] for name, values in repeated.items()]
    return Table(caption, ["the challengers in truth", *(f"k = {looks}" for looks in LOOKS)], rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
