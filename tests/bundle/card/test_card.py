"""The model card: generated from the run, honest about its limits, naming no patient."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bcd.bundle.card.card import Card, write_card
from bcd.bundle.card.facts import CardFacts, Compute, gather_card_facts
from bcd.bundle.card.sections import USE, list_limits
from bcd.bundle.registry import find_card
from bcd.errors import NotFoundError, UnavailableError
from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.certified import CertifiedThreshold
from bcd.evaluation.report.figures import PICTURES
from bcd.evaluation.report.tables import threshold_rows
from bcd.formats import format_estimate, format_percent
from bcd.tracking.lookup import MODEL
from bcd.tracking.origin import started_from
from bcd.tracking.store import open_mlflow_client, start_run

PNG = b"\x89PNG\r\n\x1a\n not really"


def _draw(sizes, seed=2):
    """Draws scores of patients of these sizes, which are right four times in five."""
    random = np.random.default_rng(seed)
    patient = np.repeat([f"secret{number}" for number in range(len(sizes))], sizes)
    label = (random.random(len(patient)) < 0.4).astype(int)
    right = random.random(len(patient)) < 0.8
    probability = np.where(label == right, 0.9, 0.1) * random.uniform(0.9, 1, len(patient))
    frame = pd.DataFrame({"hospital": "h1", "patient": patient, "slide": "1", "label": label})
    return frame.assign(x=1, y=50 * np.arange(len(patient)) + 1, probability=probability)


def evaluate(sizes, **known):
    return evaluate_scores(_draw(sizes), EvaluateOptions(resamples=100), snapshot="a" * 64, split="test", **known)


@pytest.fixture(scope="module")
def evaluation():
    return evaluate([40] * 14 + [400])


@pytest.fixture(scope="module")
def snapshot(shared_settings, make_hospital):
    return make_hospital(shared_settings)


@pytest.fixture(scope="module")
def facts(register, shared_settings, evaluation, snapshot):
    record = register(shared_settings, "red", snapshot=snapshot.id).record
    compute = Compute(device="GPU:0", training_hours=3.0, search_hours=2.0, trials=20, parameters=299841)
    return CardFacts(
        record=record,
        run="f" * 32,
        note="The default, without a search.",
        compute=compute,
        evaluation=evaluation,
        snapshot=snapshot,
        pictures={"reliability": PNG},
    )


@pytest.fixture(scope="module")
def card(facts):
    return write_card(facts)


def test_both_forms_have_every_part(card):
    for part in (
        "Intended use",
        "Limits",
        "Data",
        "Protocol",
        "Model",
        "Results on test patients",
        "What is decided at which confidence",
        "Compute",
        "Where it comes from",
    ):
        assert f"## {part}\n" in card.markdown
        assert f">{part}</h2>" in card.html


def test_the_page_is_read_without_being_seen_and_fits_the_screen_and_the_page(card, read_page, measure_page):
    read = read_page(card.html)
    assert len(read.contents) == card.html.count("<h2")
    assert len(set(read.captions)) == card.html.count("<table")
    assert [alt.partition(";")[0] for alt in read.pictures] == [PICTURES["reliability"]]
    measure_page(card.html)


def test_every_form_says_research_use_only(card):
    for text in (card.short, card.markdown, card.html):
        assert "Research use only" in text


def test_no_form_names_a_patient(card, snapshot):
    for text in (card.short, card.markdown, card.html):
        assert "secret" not in text
        for patient in snapshot.patches["patient"].unique():
            assert not re.search(rf"h1/{patient}\b", text)


def test_data_are_given_with_counts_and_digests(card, snapshot):
    assert snapshot.id in card.markdown
    assert snapshot.id in card.short
    assert "from 1 batch" in card.markdown
    assert "| a | 18 | 108 | 50.0 % |" in card.markdown
    assert "| train | 4 | 24 | 50.0 % |" in card.markdown
    assert "| gate | 12 | 72 | 50.0 % |" in card.markdown
    assert re.search(r"\b24 patches of 4 patients of 1 hospital \(h1\), 50\.0 %", card.short)


def test_metrics_stand_with_their_intervals(card, evaluation):
    auroc = evaluation.pooled["auroc"]
    low, high = (f"{end:.3f}"[1:] for end in (auroc.low, auroc.high))

    for text in (card.short, card.markdown, card.html):
        assert f"{auroc.value:.3f}"[1:] + f" [{low}, {high}]" in text


def test_the_threshold_table_stands_in_every_form(card, evaluation):
    sure = next(row for row in evaluation.thresholds if row.level == 0.80)
    cells = (f"{sure.n:,}", format_percent(sure.coverage), format_estimate(sure.accuracy))

    assert sure.accuracy.value is not None
    for cell in ("≥ 80 %", *cells):
        assert f"| {cell} |" in card.markdown
        assert f"| {cell} |" in card.short
        assert re.search(rf"<t[hd][^>]*>{re.escape(cell)}</t[hd]>", card.html.replace("\xa0", " "))
    for row in threshold_rows(evaluation).rows:
        assert all(f"| {cell} |" in card.markdown for cell in row)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("dealt", "Protocol dealt. Every patient is dealt by a keyed hash"),
        ("cruz-roa-2014", "Train, val and test are the published lists"),
        ("cruz-roa-2014-dev", "the published val patients are the test split"),
        ("leave-one-hospital-out:east", "held out: east"),
    ],
)
def test_the_protocol_is_told(facts, protocol, said):
    card = write_card(replace(facts, record=facts.record.model_copy(update={"protocol": protocol})))

    for text in (card.short, card.markdown, card.html):
        assert said in text
        assert "95 %" in text


def test_the_registrys_description_fits_into_its_column_and_keeps_what_matters(facts):
    rows = [row for row in facts.evaluation.thresholds if row.accuracy.value is not None]
    evaluation = facts.evaluation.model_copy(update={"thresholds": rows * 50})

    short = write_card(replace(facts, evaluation=evaluation)).short

    assert len(short) <= 5000
    assert "≥ 80 %" not in short
    assert USE in short
    assert "Limits:" in short
    assert "artifacts/bundle/card/card.html" in short.splitlines()[-1]


@pytest.fixture(scope="module")
def two_hospitals(facts):
    def _move(frame):
        return frame.assign(hospital=np.where(frame["patient"].str[-1].isin(list("02468")), "east", "west"))

    frame = _move(_draw([40] * 30))
    evaluation = evaluate_scores(frame, EvaluateOptions(resamples=100), snapshot="a" * 64, split="test")
    snapshot = replace(facts.snapshot, patches=_move(facts.snapshot.patches))
    return replace(facts, evaluation=evaluation, snapshot=snapshot)


def test_each_hospital_has_its_counts_and_its_results(two_hospitals):
    text = write_card(two_hospitals).markdown

    assert "| east | 9 | 54 | 50.0 % |" in text
    for turn in two_hospitals.evaluation.per_hospital:
        assert f"| {turn.name} | {turn.n_patches:,} | {turn.n_patients} |" in text
        assert format_estimate(turn.pooled["auroc"]) in text


def limits_of(text):
    """Returns the section of limits in a card."""
    return text.partition("## Limits\n")[2].partition("\n## ")[0]


def test_limits_follow_from_the_figures(card, facts):
    limits = limits_of(card.markdown)
    for figure in ("1 hospital", f"{facts.evaluation.effective_patients:.1f} patients", "42 %", "0 of the 15"):
        assert figure in limits


def test_limits_that_do_not_hold_are_not_claimed(facts):
    even = replace(facts, evaluation=evaluate([200] * 40), snapshot=None)

    text = write_card(even).markdown

    assert "1 hospital" not in limits_of(text)
    assert "2 %" in limits_of(text)
    assert "| train |" not in text  # the store no longer has the snapshot


def with_threshold(facts, threshold, target=0.01):
    """Returns facts of a bundle whose policy has one certified threshold or, of None, none."""
    fields = dict.fromkeys(CertifiedThreshold.model_fields, 0.5)
    fields |= {"n_patients": 29, "patients_needed": 299, "patients": 20, "threshold": threshold}
    row = CertifiedThreshold.model_validate(fields | {"target_error": target})
    policy = facts.record.policy.model_copy(update={"certified": (row,)})
    record = facts.record.model_copy(update={"policy": policy})
    return replace(facts, record=record, evaluation=evaluate([40] * 14 + [400], policy=policy))


def test_a_target_that_could_not_be_certified_is_a_limit(facts):
    text = write_card(with_threshold(facts, None)).markdown

    assert "1 %" in limits_of(text)
    assert re.search(r"with 29 patients \(.* 299 ", text)


def test_a_certified_threshold_stands_beside_how_it_does_on_test_patients(facts):
    found = with_threshold(facts, 0.85, target=0.25)
    (evaluated,) = found.evaluation.certified

    text = write_card(found).markdown

    assert "1 %" not in limits_of(text)
    assert "≥ 85 %" in text
    assert f"| {format_percent(evaluated.found.coverage)} | {evaluated.found.patients} |" in text


def test_without_a_test_the_card_says_that_nothing_is_known(facts):
    text = write_card(replace(facts, evaluation=None)).markdown

    assert "## Results" not in text
    assert len(list_limits(replace(facts, evaluation=None))) < len(list_limits(facts))


def test_the_hours_of_training_and_search_are_told(card, facts):
    assert re.search(r"3\.0 hours on GPU:0; .* 20 trials .* 2\.0 hours", card.markdown)
    brief = replace(facts.compute, training_hours=1 / 60, search_hours=0.001)
    assert re.search(
        r"1 minute on GPU:0; .* 20 trials .* less than a minute", write_card(replace(facts, compute=brief)).markdown
    )
    unknown = replace(facts.compute, training_hours=None, search_hours=0, trials=0)
    assert not re.search(r"\d (hours?|minutes?)\b", write_card(replace(facts, compute=unknown)).markdown)


def test_the_page_needs_nothing_beside_it(card):
    assert "data:image/png;base64," in card.html
    assert not re.search(r"(src|href)=.?(http|/|\.)", card.html)


def test_a_name_in_the_data_cannot_write_into_the_page(facts):
    note = "<script>alert(1)</script>"

    assert note not in write_card(replace(facts, note=note)).html


@pytest.fixture(scope="module")
def logged(shared_settings, evaluation, facts):
    """A run as a retraining leaves it: epochs of two networks, a search with trials, an evaluation with pictures."""
    with start_run(shared_settings, key="retrain/1", name="retrain", kind="retrain") as run:
        run.log_metrics({"parameters": 1000, "minutes": 60.0})
        run.set_tags({"bcd.device": "2 CPU cores"})
        with started_from("http://127.0.0.1:4200/runs/flow-run/1"):
            run.describe("Chosen by hand.")
        run.log_text(evaluation.model_dump_json(), "test/evaluation.json")
        run.log_text("a picture", "test/figures/reliability.png")
        run.log_text("names patients", "test/figures/patients.png")
        with start_run(shared_settings, key="search/1", name="search", kind="search", parent=run.id) as search:
            for number in (1, 2, 3):
                with start_run(
                    shared_settings, key=f"trial/{number}", name="t", kind="trial", parent=search.id
                ) as trial:
                    trial.log_metrics({"seconds": 1200.0})
    return run.id


def test_facts_are_read_from_the_run_and_the_store(shared_settings, facts, logged, evaluation, snapshot):
    from bcd.training.options import EnsembleOptions

    record = facts.record.model_copy(update={"ensemble": EnsembleOptions(members=2)})

    found = gather_card_facts(shared_settings, record, logged)

    assert found.compute == Compute("2 CPU cores", training_hours=1.0, search_hours=1.0, trials=3, parameters=1000)
    assert found.evaluation == evaluation
    assert found.snapshot.id == snapshot.id
    assert found.note == "Chosen by hand."
    assert found.pictures == {"reliability": b"a picture"}


def test_a_card_does_without_a_snapshot_that_is_gone_and_waits_for_one_that_is_out_of_reach(
    shared_settings, facts, logged, monkeypatch
):
    """Regression: where the store was out of reach for a moment, the version kept a card without its patients."""
    elsewhere = facts.record.model_copy(update={"snapshot": "f" * 64})
    assert gather_card_facts(shared_settings, elsewhere, logged).snapshot is None

    def fail(*_):
        raise UnavailableError("The store is out of reach.", "Try again.")

    monkeypatch.setattr("bcd.bundle.card.facts.load_snapshot", fail)
    with pytest.raises(UnavailableError):
        gather_card_facts(shared_settings, facts.record, logged)


def test_a_version_keeps_the_card_it_was_registered_with(register_with_card, settings):
    bundle = register_with_card(Card(short="First line.\n\nMore.", markdown="# its card\n", html="<p>its card</p>"))

    found = find_card(settings, "bcd-idc/1")

    assert (found.markdown, found.html) == ("# its card\n", "<p>its card</p>")
    assert open_mlflow_client(settings).get_model_version(MODEL, bundle.version).description == "First line.\n\nMore."


def test_a_version_that_was_registered_without_a_card_is_named(facts, shared_settings):
    with pytest.raises(NotFoundError, match="bcd-idc/1"):
        find_card(shared_settings, "1")


def test_a_missing_version_is_told_with_the_fix(settings):
    with pytest.raises(NotFoundError, match=r"\b7 of bcd-idc.*`bcd model list`"):
        find_card(settings, "7")


@pytest.fixture
def register_with_card(settings, networks, make_graph, facts):
    from bcd.bundle.engine import describe_engine
    from bcd.bundle.registry import register_bundle

    def _register(card):
        with start_run(settings, key="train/carded", name="carded", kind="train") as run:
            return register_bundle(
                settings,
                key="carded",
                run_id=run.id,
                networks=[networks["red"]],
                graph=make_graph("red"),
                record=facts.record.model_copy(update={"engine": describe_engine(make_graph("red"))}),
                example=np.zeros((2, 50, 50, 3), np.uint8),
                card=card,
            )

    return _register
