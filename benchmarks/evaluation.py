"""The full evaluation of the whole public set's size: time and memory, beside scikit-learn called in a loop.

    .venv/bin/python benchmarks/evaluation.py

277,524 predictions of 279 patients are made up and evaluated: every metric pooled, by patient, without the largest,
by hospital and by batch, the threshold table, risk and coverage, patients. Once with the default intervals (full),
once with those of 2,000 resamples of the patients (resampled). Beside it stand the pooled metrics of 2,000
resamples, and the same by scikit-learn, called once a resample: a few resamples are measured and scaled to all.
Every way runs in a process of its own; memory is its own (RssAnon), at its peak. `--outcomes` prints instead how
often the outcome is right on made-up patients, for docs/explanation/numbers.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Literal

import numpy as np
import pandas as pd
from snapshots import watch_memory

from bcd.evaluation.options import EvaluateOptions
from bcd.patches import PERSON

PATCHES, PATIENTS, RESAMPLES = 277_524, 279, 2_000
HOSPITALS, BATCHES = 2, 5
WAYS = ("full", "resampled", "pooled", "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=PATCHES)
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--looped", type=int, default=10, help="resamples of the loop that are measured (default 10)")
    parser.add_argument("--outcomes", action="store_true", help="print the table of outcomes, and nothing else")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.outcomes:
        print_outcomes()
    elif arguments.way:
        print(json.dumps(measure(arguments.way, arguments)))
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measures every way in a process of its own and prints them beside each other."""
    print(f"{arguments.patches:,} predictions of {arguments.patients:,} patients, {arguments.resamples:,} resamples")
    print(f"{'way':<14}{'seconds':>10}{'CPU seconds':>13}{'before MB':>11}{'peak MB':>9}")
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--patches", str(arguments.patches)]
        command += ["--patients", str(arguments.patients)]
        command += ["--resamples", str(arguments.resamples), "--looped", str(arguments.looped)]
        found[way] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        one = found[way]
        scaled = f"  ({arguments.looped} resamples measured, scaled)" if way == "scikit-learn" else ""
        print(
            f"{way:<14}{one['seconds']:>10.1f}{one['processor']:>13.1f}{one['before']:>11.0f}{one['peak']:>9.0f}{scaled}",
            flush=True,
        )
    loop = found["scikit-learn"]
    for way in WAYS[:-1]:
        ratio, cpu = loop["seconds"] / found[way]["seconds"], loop["processor"] / found[way]["processor"]
        print(f"The loop of the pooled metrics takes {ratio:.1f} times as long as ours, {way} (CPU time: {cpu:.1f}).")


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Runs one way and returns its time, and its memory before and at its peak."""
    import sklearn.metrics  # noqa: F401 - not counted

    from bcd.evaluation.evaluation import evaluate_scores
    from bcd.evaluation.metrics.metrics import Resampled
    from bcd.evaluation.metrics.sample import make_evaluation_sample

    scores = make_scores(arguments.patches, arguments.patients)
    interval: Literal["jackknife", "percentile"] = "jackknife" if way == "full" else "percentile"
    options = EvaluateOptions(resamples=arguments.resamples, interval=interval)
    factor = 1.0
    with watch_memory(0.02) as memory:
        start, cpu = time.perf_counter(), time.process_time()
        if way in {"full", "resampled"}:
            evaluate_scores(scores, options, snapshot="benchmark", split="test")
        elif way == "pooled":
            Resampled.of(make_evaluation_sample(scores), options).pooled()
        else:
            loop_over_resamples(scores, arguments.looped)
            factor = arguments.resamples / arguments.looped
        seconds, spent = time.perf_counter() - start, time.process_time() - cpu
    return {
        "seconds": factor * seconds,
        "processor": factor * spent,
        "before": memory[0],
        "peak": max(memory),
    }


def loop_over_resamples(scores: pd.DataFrame, resamples: int) -> list[list[float]]:
    """Does what is usual: draws patients, gathers their patches, and asks scikit-learn for each metric."""
    from sklearn import metrics as sk

    rng = np.random.default_rng(20)
    label, p = scores["label"].to_numpy(), scores["probability"].to_numpy()
    rows = list(scores.groupby(PERSON, sort=True).indices.values())
    values = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        y, score = label[drawn], p[drawn]
        called = score >= 0.5
        values.append(
            [
                sk.roc_auc_score(y, score),
                sk.average_precision_score(y, score),
                sk.accuracy_score(y, called),
                sk.balanced_accuracy_score(y, called),
                sk.precision_score(y, called),
                sk.recall_score(y, called),
                sk.recall_score(y, called, pos_label=0),
                sk.precision_score(y, called, pos_label=0),
                sk.f1_score(y, called),
                sk.brier_score_loss(y, score),
            ]
        )
    return values


def make_scores(patches: int, patients: int = PATIENTS) -> pd.DataFrame:
    """Makes up predictions: patients as uneven as the public set's, each with a prevalence and a shift of its own."""
    rng = np.random.default_rng(7)
    share = rng.lognormal(0, 0.6, patients)
    sizes = np.maximum(np.floor(patches * share / share.sum()), 1).astype(int)
    sizes[0] += patches - sizes.sum()
    patient = np.repeat(np.arange(patients), sizes)
    cell = np.arange(patches) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    label = rng.random(patches) < rng.beta(1.2, 3.0, patients)[patient]
    logit = rng.normal(0, 0.9, patients)[patient] + 3.2 * (label - 0.6) + rng.normal(0, 1.4, patches)
    return pd.DataFrame(
        {
            "hospital": np.char.add("hospital-", (patient % HOSPITALS).astype(str)),
            "patient": patient.astype(str),
            "slide": "1",
            "x": cell % 60 * 50 + 1,
            "y": cell // 60 * 50 + 1,
            "batch": (patient % BATCHES).astype(str),
            "label": label.astype(np.int8),
            "logit": logit,
            "probability": 1 / (1 + np.exp(-logit)),
        }
    )


def print_outcomes(patients: int = 5_000) -> None:
    """Prints the outcome of made-up patients with and without tumour, by the AUROC of the scores."""
    from made_scores import ScoreModel, compute_true_metric, draw_synthetic_scores

    from bcd.evaluation.metrics.metrics import Resampled
    from bcd.evaluation.metrics.patients import count_outcomes, find_patient_figures
    from bcd.evaluation.metrics.sample import make_evaluation_sample
    from bcd.evaluation.outcome import OUTCOMES, OutcomeRule

    options = EvaluateOptions(resamples=100)
    print(OutcomeRule())
    print("| AUROC | patients | " + " | ".join(OUTCOMES) + " |")
    for separation in (2.2, 2.8, 3.5):
        model = ScoreModel(separation=separation, tumour_free=0.5)
        scores = draw_synthetic_scores(model, patients, seed=1)
        scores = scores[scores.groupby("patient")["label"].transform("size") >= options.min_patches]
        resampled = Resampled.of(make_evaluation_sample(scores), options)
        counts = count_outcomes(find_patient_figures(resampled, scores).outcomes, resampled.tallies.positive > 0)
        for group, found in counts.items():
            total = sum(found.values())
            shares = " | ".join(f"{100 * found[each] / total:.1f} %" for each in OUTCOMES)
            print(f"| {compute_true_metric(model, 'auroc'):.3f} | {total:,} {group} | {shares} |")


if __name__ == "__main__":
    main()
