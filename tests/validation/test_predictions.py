from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.options import EvaluateOptions
from bcd.validation.predictions import read_prediction_file
from bcd.validation.result import evaluate_models

GOOD = "patient,x,y,label,ours,theirs\n0042,1,51,1,0.9,1\n0042,51,51,0,0.25,0\n7,1,1,0,0,0.5\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        path = tmp_path / "predictions.csv"
        path.write_text(text)
        return path

    return write_file


def test_every_other_column_is_a_score(write: Callable[[str], Path]) -> None:
    predictions = read_prediction_file(write(GOOD))
    assert predictions.columns == ("ours", "theirs")
    scores = predictions.scores("ours")
    assert scores["patient"].tolist() == ["0042", "0042", "7"]
    assert scores["probability"].tolist() == [0.9, 0.25, 0.0]
    assert set(scores["hospital"]) == set(scores["slide"]) == {"given"}
    assert predictions.scores("theirs")["probability"].tolist() == [1.0, 0.0, 0.5]


def test_columns_that_are_no_scores_can_be_left_out(write: Callable[[str], Path]) -> None:
    named = write(GOOD.replace("0.9,1", "0.9,who knows"))
    assert read_prediction_file(named, ["ours"]).columns == ("ours",)
    with pytest.raises(BcdError, match="line 2: theirs 'who knows'"):
        read_prediction_file(named)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("fold", (0, 1, 2), "no score, by its name"),
        ("Epoch", (0.5, 0.5, 0.5), "no score, by its name"),
        ("predicted", (1, 0, 0), "0 and 1 alone, a class"),
        ("size", (50, 50, 60), "50 to 60"),
        ("comment", ("who", "knows", ""), "no numbers"),
        ("logit", (-4.5, 2.25, 3.5), "-4.5 to 3.5"),
        ("percent", (90.5, 25.1, 3), "3 to 90.5"),
    ],
)
def test_columns_that_hold_no_probabilities_are_left_out_and_named(
    write: Callable[[str], Path], name: str, values: tuple[object, ...], why: str
) -> None:
    lines = GOOD.splitlines()
    table = [f"{line},{value}" for line, value in zip(lines, (name, *values), strict=True)]
    predictions = read_prediction_file(write("\n".join(table)))
    assert predictions.columns == ("ours", "theirs")
    assert set(predictions.left_out) == {name}
    assert why in predictions.left_out[name]
    alone = [",".join([*line.split(",")[:4], line.rpartition(",")[2]]) for line in table]
    with pytest.raises(BcdError, match="--column") as raised:
        read_prediction_file(write("\n".join(alone)))
    assert why in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(",", ";").replace(".", ","),
        GOOD.replace(",", "\t"),
        "sep=;\n" + GOOD.replace(",", ";"),
        GOOD.replace("0.9,1", "90 %,100%").replace("0.25,0", "25%,0 %").replace("0,0.5", "0%,50%"),
        GOOD.replace("patient,x,y,label", "Patient ID,X,Y,y_true").replace(",51,", ",51.0,"),
        ",".join(["", *GOOD.splitlines(keepends=True)[:1]])
        + "".join(f"{row},{line}" for row, line in enumerate(GOOD.splitlines(keepends=True)[1:])),
        "file,ours,theirs\nC:\\x\\0042_idx1_x1_y51_class1.png,.9,1\n0042_idx1_x51_y51_class0.png,.25,0\n"
        "7_idx1_x1_y1_class0.png,0,.5\n",
        GOOD.replace(",1,0.9", ",IDC,0.9").replace(",0,", ",none,", 1).replace("1,0,0,0.5", "1,none,0,0.5"),
    ],
    ids=["decimal commas", "tabs", "sep=", "per cent", "headers", "an index of pandas", "file names", "words"],
)
def test_several_notations_are_understood(write: Callable[[str], Path], text: str) -> None:
    predictions = read_prediction_file(write(text))
    assert predictions.columns == ("ours", "theirs")
    assert predictions.patches[["patient", "x", "y", "label"]].to_numpy().tolist() == [
        ["0042", 1, 51, 1],
        ["0042", 51, 51, 0],
        ["7", 1, 1, 0],
    ]
    assert predictions.probabilities.tolist() == [[0.9, 1], [0.25, 0], [0, 0.5]]


def test_x_and_y_that_count_otherwise_are_said(write: Callable[[str], Path]) -> None:
    grid = GOOD.replace("0042,1,51", "0042,0,1").replace("0042,51,51", "0042,1,1").replace("7,1,1", "7,0,0")
    with pytest.raises(BcdError, match=r"x '0'.*\bpixels\b"):
        read_prediction_file(write(grid))
    from_0 = GOOD.replace("0042,1,51", "0042,0,50").replace("0042,51,51", "0042,50,50").replace("7,1,1", "7,0,0")
    with pytest.raises(BcdError, match=r"x '0'.*\b0: add 1\b"):
        read_prediction_file(write(from_0))


def test_a_ranking_the_wrong_way_round_is_said(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    models = {"ours": scores, "p_benign": scores.assign(probability=1 - scores["probability"])}
    validation = evaluate_models(models, options, title="Two", notes=["first"])
    assert len(validation.notes) == 2
    assert validation.notes[1].startswith("p_benign ")


@pytest.mark.parametrize(("numbers", "is_said"), [(2, True), (1, False)])
def test_a_ranking_the_wrong_way_round_is_said_of_few_patients_too(
    scores: pd.DataFrame, options: EvaluateOptions, numbers: int, *, is_said: bool
) -> None:
    few = scores[scores["patient"].isin(sorted(set(scores["patient"]))[:numbers])]  # each is two hospitals' patient
    models = {"ours": few.assign(probability=0.8 * few["label"] + 0.1)}
    models["p_benign"] = few.assign(probability=1 - models["ours"]["probability"])
    validation = evaluate_models(models, options, title="Few", notes=[])
    assert validation.evaluations["p_benign"].pooled["auroc"].value is None
    assert [note.split(" ", 1)[0] for note in validation.notes] == (["p_benign"] if is_said else [])


def test_hospital_and_slide_tell_patches_apart(write: Callable[[str], Path]) -> None:
    text = "hospital,patient,slide,x,y,label,ours\neast,1,1,1,1,1,.5\nwest,1,1,1,1,0,.5\neast,1,2,1,1,0,.5\n"
    predictions = read_prediction_file(write(text))
    assert len(predictions.patches) == 3
    assert predictions.given == {"hospital", "slide"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("patient,x", "person,x", r"\bpatient\b"),
        (",ours,theirs", ",ours,", "Column 6 of .* has no name"),
        ("0.9", "1.2", "line 2: ours '1.2'.*logits"),
        ("0.25", "", "line 3: ours ''"),
        ("0.25", "nan", "line 3: ours 'nan'"),
        ("51,0,0.25", "51,2,0.25", "line 3: label '2'"),
        ("51,0,0.25", "51,,0.25", "line 3: label ''"),
        ("0042,1,51", "0042,2,51", "line 2: x '2'"),
        ("0042,1,51", "0042,1.5,51", "line 2: x '1.5'"),
        ("7,1,1", "7,1,500001", "line 4: y '500001'.* 20,000"),
        ("7,1,1", ",1,1", "line 4: patient ''"),
        ("0042,51,51", "0042,1,51", "lines 2 and 3: .*patient 0042, x 1, y 51"),
        ("7,1,1,0,0,0.5", "7,1,1,0,0,0.5,1", r"line 4 .*\b7\b.*\b6\b"),
        ("\n0042,1,51,1,0.9,1\n0042,51,51,0,0.25,0\n7,1,1,0,0,0.5\n", "\n", "no row below its header"),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_line(
    old: str, new: str, message: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(BcdError, match=message):
        read_prediction_file(write(GOOD.replace(old, new)))


def test_more_of_the_same_fault_is_counted(write: Callable[[str], Path]) -> None:
    with pytest.raises(BcdError, match=r"line 2: ours .*\b2 more"):
        read_prediction_file(
            write(GOOD.replace("0.9", "9").replace("0.25", "-1").replace("0,0,0.5", "0,7,0.5")), ["ours"]
        )


@pytest.mark.parametrize("text", ["", "\x00\x01", "patient,x,y,label\n1,1,1,1\n"])
def test_a_file_without_scores_is_refused(text: str, write: Callable[[str], Path]) -> None:
    with pytest.raises(BcdError):
        read_prediction_file(write(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_prediction_file(tmp_path / "nowhere.csv")


def test_predictions_are_evaluated_by_the_same_code(
    scores: pd.DataFrame, options: EvaluateOptions, write: Callable[[str], Path]
) -> None:
    columns = ["hospital", "patient", "slide", "x", "y", "label", "probability"]
    predictions = read_prediction_file(
        write(scores[columns].rename(columns={"probability": "ours"}).to_csv(index=False))
    )
    own = evaluate_scores(scores, options, snapshot="", split="given")
    assert evaluate_scores(predictions.scores("ours"), options, snapshot="", split="given") == own


def test_every_pair_of_columns_is_compared(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    worse = scores.assign(probability=scores["probability"].sample(frac=1, random_state=1).to_numpy())
    models = {"a": scores, "b": scores, "c": worse}
    validation = evaluate_models(models, options, title="Three", notes=[])
    assert [(pair.first, pair.second) for pair in validation.differences] == [("a", "b"), ("a", "c"), ("b", "c")]
    same, lower, _ = (pair.metrics["auroc"] for pair in validation.differences)
    assert same.value == 0
    assert lower.high < 0
    assert lower.value == pytest.approx(
        validation.evaluations["c"].pooled["auroc"].value - validation.evaluations["a"].pooled["auroc"].value
    )
