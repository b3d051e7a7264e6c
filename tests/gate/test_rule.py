from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.rule import GateOptions, decide

OPTIONS = GateOptions()
EVALUATE = EvaluateOptions(resamples=300)


def make_scores(*, signal: float, patients: int = 20, patches: int = 40, shift: float = 0.0, seed: int = 1):
    """Scores of the same patches, whatever the signal, which is how far the two classes lie apart."""
    labels = np.tile([0, 1], patients * patches // 2)
    noise = np.random.default_rng(seed).normal(size=len(labels))
    logit = signal * (labels - 0.5) + noise + shift
    patient = np.repeat(np.arange(patients).astype(str), patches)
    return pd.DataFrame(
        {
            "hospital": "h1",
            "patient": patient,
            "slide": "1",
            "x": 50 * np.arange(len(labels)) + 1,
            "y": 1,
            "label": labels,
            "split": "gate",
            "logit": logit,
            "probability": 1 / (1 + np.exp(-logit)),
        }
    )


def check(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


def test_a_better_challenger_is_promoted_with_its_figures():
    verdict = decide(make_scores(signal=3), make_scores(signal=2), OPTIONS, EVALUATE)

    assert verdict.verdict == "PROMOTE"
    assert check(verdict, "auroc").low > 0
    assert any(re.search(r"AUROC .*\+\.", reason) for reason in verdict.reasons)
    assert all(reason[0].isupper() and reason.endswith(".") for reason in verdict.reasons)


def test_swapping_champion_and_challenger_flips_the_verdict():
    good, bad = make_scores(signal=3), make_scores(signal=2)

    there = decide(good, bad, OPTIONS, EVALUATE)
    back = decide(bad, good, OPTIONS, EVALUATE)

    assert (there.verdict, back.verdict) == ("PROMOTE", "REJECT")
    assert check(back, "auroc").value == pytest.approx(-check(there, "auroc").value)
    assert re.search(r"AUROC .* −\.\d", back.reasons[0])  # noqa: RUF001


@given(signals=st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)), seeds=st.tuples(st.integers(0, 5), st.integers(0, 5)))
@hypothesis_settings(max_examples=12, deadline=None)
def test_two_different_models_are_never_promoted_over_each_other(signals, seeds):
    a, b = (make_scores(signal=signals[i], seed=seeds[i], patients=12) for i in range(2))
    evaluate = EvaluateOptions(resamples=100)
    verdicts = [decide(a, b, OPTIONS, evaluate).verdict, decide(b, a, OPTIONS, evaluate).verdict]

    if verdicts == ["PROMOTE", "PROMOTE"]:
        assert check(decide(a, b, OPTIONS, evaluate), "auroc").value == 0
    if "REJECT" in verdicts:
        assert verdicts.count("REJECT") == 1


def test_the_same_scores_are_no_worse():
    scores = make_scores(signal=2)

    assert decide(scores, scores, OPTIONS, EVALUATE).verdict == "PROMOTE"


def test_a_little_worse_is_held_not_rejected():
    verdict = decide(make_scores(signal=2.45), make_scores(signal=2.5), OPTIONS, EVALUATE)

    assert verdict.verdict == "HOLD"
    assert check(verdict, "auroc").passed
    assert not check(verdict, "not worse").passed
    assert check(verdict, "not worse").text in verdict.reasons


def test_better_on_average_but_uncertain_is_held():
    challenger = make_scores(signal=2.3, seed=2, patients=12, patches=8)
    champion = make_scores(signal=2.0, seed=3, patients=12, patches=8)

    verdict = decide(challenger, champion, OPTIONS, EVALUATE)

    assert check(verdict, "not worse").passed
    assert check(verdict, "auroc").low < -OPTIONS.margin
    assert verdict.verdict == "HOLD"


def test_lost_recall_holds_a_challenger_that_ranks_better():
    champion = make_scores(signal=2.5)
    challenger = make_scores(signal=2.7, shift=-1.0)

    held = decide(challenger, champion, OPTIONS, EVALUATE)
    let = decide(challenger, champion, GateOptions(enforce_rates=False), EVALUATE)

    assert held.verdict == "HOLD"
    assert len(held.reasons) == 1
    assert held.reasons == [check(held, "recall").text]
    assert let.verdict == "PROMOTE"
    assert not check(let, "recall").passed


def test_too_few_gate_patients_are_insufficient_evidence_and_counted():
    verdict = decide(make_scores(signal=3, patients=7), make_scores(signal=1, patients=7), OPTIONS, EVALUATE)

    assert verdict.verdict == "HOLD"
    assert re.findall(r"\d+", verdict.reasons[0])[:3] == ["7", "10", "3"]  # found, needed, missing


@pytest.mark.parametrize("champion", [None, make_scores(signal=1).iloc[:0]])
def test_without_any_gate_patient_nobody_is_promoted_or_rejected(champion):
    verdict = decide(make_scores(signal=3).iloc[:0], champion, OPTIONS, EVALUATE)

    assert verdict.verdict == "HOLD"
    assert re.findall(r"\d+", verdict.reasons[0])[:3] == ["0", "10", "10"]


@pytest.mark.parametrize(("left", "missing"), [(0, "IDC patches"), (1, "patches without IDC")])
def test_one_class_is_insufficient_evidence_and_named(left, missing):
    challenger, champion = (frame[frame["label"] == left] for frame in (make_scores(signal=3), make_scores(signal=1)))

    verdict = decide(challenger, champion, OPTIONS, EVALUATE)

    assert verdict.verdict == "HOLD"
    assert re.findall(r"\d+", verdict.reasons[0])[:3] == ["0", "10", "10"]
    assert missing in verdict.reasons[0]


def test_the_gate_s_own_minimum_counts_not_the_evaluation_s():
    options, evaluate = GateOptions(min_patients=5), EvaluateOptions(resamples=300, min_patients=50)

    verdict = decide(make_scores(signal=4, patients=6), make_scores(signal=2, patients=6), options, evaluate)

    assert verdict.verdict == "PROMOTE"


def test_the_first_challenger_is_promoted_for_want_of_a_champion():
    verdict = decide(make_scores(signal=1, patients=3), None, OPTIONS, EVALUATE)

    assert verdict.verdict == "PROMOTE"
    assert verdict.champion is None
    assert re.findall(r"\d+", verdict.reasons[1]) == ["120", "3"]  # patches and patients that it scored


@pytest.mark.parametrize("champion", [None, make_scores(signal=1)])
def test_a_challenger_without_finite_scores_is_rejected(champion):
    broken = make_scores(signal=3)
    broken.loc[3, "probability"] = np.nan

    verdict = decide(broken, champion, OPTIONS, EVALUATE)

    assert verdict.verdict == "REJECT"
    assert re.findall(r"\d+", verdict.reasons[0]) == ["1", "800"]


def test_different_patches_are_no_comparison():
    with pytest.raises(BcdError, match=r"\b1 differ"):
        decide(make_scores(signal=2), make_scores(signal=2).iloc[:-1], OPTIONS, EVALUATE)


def test_a_verdict_reads_well_and_comes_back_from_json():
    verdict = decide(make_scores(signal=3), make_scores(signal=2), OPTIONS, EVALUATE, challenger="4", champion="2")

    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict
    text = verdict.markdown()
    assert re.match(r"## PROMOTE: .*\b4\b.*\b2\n", text)
    assert text.count("\n| ") == 2 + len(verdict.checks)


def test_neighbours_are_reported_and_decide_nothing():
    champion, challenger = make_scores(signal=2), make_scores(signal=2, seed=2)
    perfect = challenger["label"].map({0: 0.1, 1: 0.9})
    whole = challenger["patient"].astype(int) < 12
    alone = decide(challenger, champion, OPTIONS, EVALUATE)
    joined = decide(challenger.assign(context_probability=perfect.where(whole)), champion, OPTIONS, EVALUATE)
    told = check(joined, "neighbours")
    assert (told.enforced, told.passed) == (False, True)
    assert told.value > 0.05
    assert "480 patches of 12 patients" in told.text
    assert (joined.verdict, joined.reasons) == (alone.verdict, alone.reasons)
    assert [each for each in joined.checks if each.name != "neighbours"] == alone.checks
    both = decide(
        challenger.assign(context_probability=perfect.where(whole)),
        champion.assign(context_probability=perfect.where(whole)),
        OPTIONS,
        EVALUATE,
    )
    assert check(both, "neighbours").value == 0
    assert "champion's" in check(both, "neighbours").text
    nothing = decide(challenger.assign(context_probability=np.nan), champion, OPTIONS, EVALUATE)
    assert nothing.checks == alone.checks
