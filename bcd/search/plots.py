"""The pictures of a study: history, importances, parallel coordinates, score against cost, learning curves.

Examples:
        for picture in draw_study(result, folder):
            run.log_file(picture, "study")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.charts import BLUE, GREEN, INK, MUTED, ORANGE, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bcd.search.records import StudyResult, TrialRecord

_LOOKS: dict[str, tuple[str, str, str]] = {
    "complete": (BLUE, "o", "complete"),
    "pruned": (MUTED, "x", "pruned"),
}
"""Colour, marker and name of trials that have a score."""

_AXES = 8  # of the parallel coordinates; the parameters that matter most


def draw_study(study: StudyResult, folder: Path) -> list[Path]:
    """Draws every picture of a study that its trials suffice for, and returns the files."""
    scored = [trial for trial in study.trials if trial.value is not None]
    complete = [trial for trial in scored if trial.state == "complete"]
    placed = [trial for trial in complete if trial.params]  # what was stated by hand is no point of the space
    pictures: dict[str, tuple[bool, Callable[[Path], None]]] = {
        "history": (bool(scored), lambda path: _draw_history(study, scored, path)),
        "learning-curves": (bool(scored), lambda path: _draw_learning_curves(study, scored, path)),
        "score-and-cost": (bool(complete), lambda path: _draw_front(study, complete, path)),
        "parallel-coordinates": (len(placed) > 1, lambda path: _draw_parallel(study, placed, path)),
        "importances": (bool(study.importances), lambda path: _draw_importances(study, path)),
    }
    files = []
    for name, (suffices, draw) in pictures.items():
        if suffices:
            draw(folder / f"{name}.png")
            files.append(folder / f"{name}.png")
    return files


def _draw_history(study: StudyResult, trials: Sequence[TrialRecord], path: Path) -> None:
    """Draws the val score of each trial over the training that the study had spent by then."""
    spent = dict(
        zip(
            (trial.number for trial in study.trials),
            np.cumsum([trial.seconds for trial in study.trials]) / 60,
            strict=True,
        )
    )
    with page(
        path, title="Every trial, and the best so far", note=_describe_study_in_caption(study), size=(8.6, 3.6)
    ) as figure:
        axes = figure.subplots()
        complete = [trial for trial in trials if trial.state == "complete"]
        if complete:
            best = np.maximum.accumulate([trial.value or 0.0 for trial in complete])
            times = [*(spent[trial.number] for trial in complete), max(spent.values())]
            axes.step(times, [*best, best[-1]], where="post", color=BLUE, label="best so far")
        _scatter_trials(axes, trials, lambda trial: spent[trial.number])
        _name_known(axes, trials, lambda trial: spent[trial.number])
        _limit_scores(axes, trials)
        axes.set_xlim(left=0)
        axes.set_xlabel("minutes of training spent")
        axes.set_ylabel("val score")
        _place_legend(axes)


def _draw_learning_curves(study: StudyResult, trials: Sequence[TrialRecord], path: Path) -> None:
    """Draws the val score of every trial over its epochs; pruned ones end early."""
    epochs = max(len(trial.history) for trial in trials)
    with page(path, title="Learning curves", note=_describe_study_in_caption(study), size=(8.6, 3.6)) as figure:
        axes = figure.subplots()
        shown: set[str] = set()
        for trial in trials:
            scores = [row["val_score"] for row in trial.history]
            colour, width, label = _curve_look(trial, study.best)
            axes.plot(
                range(1, len(scores) + 1),
                scores,
                color=colour,
                linewidth=width,
                alpha=1 if width > 1 else 0.6,
                marker="x" if trial.state == "pruned" else "o",
                markersize=4,
                markevery=[-1],
                zorder=3 if width > 1 else 2,
                label=None if label in shown else label,
            )
            shown.add(label)
        axes.set_xticks(range(1, epochs + 1) if epochs <= 12 else [1, *range(5, epochs + 1, 5)])
        axes.set_xlabel("epoch")
        axes.set_ylabel("val score")
        _place_legend(axes)


def _draw_front(study: StudyResult, trials: Sequence[TrialRecord], path: Path) -> None:
    """Draws the val score of complete trials over their cost, with those that none beats in both."""
    front = sorted((trial for trial in trials if trial.number in study.front), key=lambda trial: trial.multiply_adds)
    with page(path, title="Score against cost", note=_describe_study_in_caption(study), size=(8.6, 3.8)) as figure:
        axes = figure.subplots()
        for allowed, colour, marker, label in (
            (True, BLUE, "o", "complete"),
            (False, ORANGE, "s", "over the limits"),
        ):
            chosen = [trial for trial in trials if trial.allowed == allowed]
            if chosen:
                costs, scores = (
                    [_count_multiply_adds(trial) for trial in chosen],
                    [trial.value or 0.0 for trial in chosen],
                )
                axes.scatter(costs, scores, color=colour, marker=marker, s=26, zorder=3, label=label)
        axes.step(
            [_count_multiply_adds(trial) for trial in front],
            [trial.value or 0.0 for trial in front],
            where="post",
            color=GREEN,
            label="none is cheaper and better (Pareto)",
        )
        _name_known(axes, trials, _count_multiply_adds)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _position: f"{value:g}" if str(value)[0] in "25" else "")
        axes.set_xlabel("million multiply-adds a patch")
        axes.set_ylabel("val score")
        _place_legend(axes)


def _draw_parallel(study: StudyResult, trials: Sequence[TrialRecord], path: Path) -> None:
    """Draws each complete trial as a line through its parameters, the better the darker."""
    common = set.intersection(*(set(trial.params) for trial in trials))
    varied = [name for name in sorted(common) if len({trial.params[name] for trial in trials}) > 1]
    names = sorted(varied, key=lambda name: -study.importances.get(name, 0.0))[:_AXES]
    ranks = {trial.number: rank for rank, trial in enumerate(sorted(trials, key=lambda trial: trial.value or 0.0), 1)}
    with page(
        path, title="Parameters of complete trials", note=_describe_study_in_caption(study), size=(9.2, 4.2)
    ) as figure:
        axes = figure.subplots()
        columns = [_place_on_axis(names[i], trials) for i in range(len(names))]
        columns.append(_place_numbers([trial.value or 0.0 for trial in trials]))
        for index, trial in enumerate(trials):
            share = ranks[trial.number] / len(trials)
            axes.plot(
                range(len(columns)),
                [places[index] for places, _ in columns],
                color=ORANGE if trial.number == study.best else BLUE,
                alpha=1.0 if trial.number == study.best else 0.15 + 0.7 * share**2,
                linewidth=2.2 if trial.number == study.best else 1.2,
                zorder=3 if trial.number == study.best else 2,
            )
        for column, (_, ticks) in enumerate(columns):
            for place, text in ticks:
                axes.annotate(
                    text,
                    (column, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    fontsize=7,
                    va="center",
                    bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
                    zorder=4,
                )
        labels = [*(name.replace("_", "\n") for name in names), "val\nscore"]
        axes.set_xticks(range(len(columns)), labels=labels, fontsize=8)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        axes.margins(x=0.03)


def _draw_importances(study: StudyResult, path: Path) -> None:
    """Draws the share of the val score's variance that each parameter explains."""
    named = sorted(study.importances.items(), key=lambda pair: pair[1])[-12:]
    complete = sum(trial.state == "complete" for trial in study.trials)
    note = f"PED-ANOVA on {complete} complete trials; on fewer than about 30, an indication at most"
    with page(path, title="What explains the val score", note=note, size=(6.4, 0.6 + 0.24 * len(named))) as figure:
        axes = figure.subplots()
        axes.barh([name.replace("_", " ") for name, _ in named], [weight for _, weight in named], color=BLUE)
        axes.set_xlabel("share of the variance")
        axes.grid(visible=False, axis="y")


def _describe_study_in_caption(study: StudyResult) -> str:
    ends = [trial.state for trial in study.trials]
    counts = [f"{ends.count(end)} {end}" for end in ("complete", "pruned") if end in ends]
    failed = ends.count("diverged") + ends.count("failed")
    if failed:
        counts.append(f"{failed} failed")
    chosen = "the default stays" if study.best == 0 else f"trial {study.best} is chosen"
    return f"{study.study}: {', '.join(counts)}; {chosen}. Val score: AUROC on val patients, each weighing the same."


def _scatter_trials(axes: Axes, trials: Sequence[TrialRecord], place: Callable[[TrialRecord], float]) -> None:
    for state, (colour, marker, label) in _LOOKS.items():
        chosen = [trial for trial in trials if trial.state == state]
        if chosen:
            points = [place(trial) for trial in chosen], [trial.value or 0.0 for trial in chosen]
            axes.scatter(*points, color=colour, marker=marker, s=26, zorder=3, label=label)


def _name_known(axes: Axes, trials: Sequence[TrialRecord], place: Callable[[TrialRecord], float]) -> None:
    for trial in trials:
        if trial.kind == "reference":
            at = (place(trial), trial.value or 0.0)
            axes.annotate(trial.label, at, xytext=(5, 5), textcoords="offset points", fontsize=8, color=INK)


def _place_legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the drawing: points may lie anywhere in it


def _limit_scores(axes: Axes, trials: Sequence[TrialRecord]) -> None:
    """Leaves trials that are far below all others off the picture's scale, which they would flatten."""
    scores = np.array([trial.value or 0.0 for trial in trials])
    low, high = float(np.quantile(scores, 0.1)), float(scores.max())
    room = max(high - low, 0.01)
    if scores.min() < low - 2 * room:
        axes.set_ylim(low - 0.6 * room, high + 0.2 * room)


def _curve_look(trial: TrialRecord, best: int) -> tuple[str, float, str]:
    if trial.number == best:
        return ORANGE, 2.2, "chosen" if best else "the default, which stays"
    if trial.number == 0:
        return INK, 1.8, "the default"
    return (MUTED, 0.9, "pruned") if trial.state == "pruned" else (BLUE, 1.0, "complete")


def _count_multiply_adds(trial: TrialRecord) -> float:
    return trial.multiply_adds / 1e6


def _place_on_axis(name: str, trials: Sequence[TrialRecord]) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns where each trial crosses a parameter's axis, from 0 to 1, and the axis' labels."""
    values: list[Any] = [trial.params[name] for trial in trials]
    if any(isinstance(value, float) for value in values):
        return _place_numbers(
            np.log(values).tolist() if name.endswith(("rate_factor", "decay_factor")) else values, labels=values
        )
    known = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    at = {value: index / max(len(known) - 1, 1) for index, value in enumerate(known)}
    return [at[value] for value in values], [(place, str(value)) for value, place in at.items()]


def _place_numbers(
    values: Sequence[float], labels: Sequence[float] | None = None
) -> tuple[list[float], list[tuple[float, str]]]:
    shown = values if labels is None else labels
    low, high = min(values), max(values)
    places = [(value - low) / max(high - low, 1e-12) for value in values]
    return places, [(0.0, f"{min(shown):.3g}"), (1.0, f"{max(shown):.3g}")]
