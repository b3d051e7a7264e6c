"""`bcd evaluate`: models on a protocol's patients, beside predictions, and on a delivery that is not admitted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import tifffile
from delivering import name_pixels, write_folder
from typer.testing import CliRunner

from bcd.admission.admit import admit
from bcd.bundle.probes import draw_tissue_probes
from bcd.cli.main import app
from bcd.errors import BcdError, InsufficientEvidenceError, LeakageError
from bcd.evaluation.options import EvaluateOptions
from bcd.networks.architecture import PRESETS
from bcd.networks.build import build_network
from bcd.patches import Hospital
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.splits import published_list
from bcd.store.batches import read_batch_pixels
from bcd.store.hospitals import declare_hospital, list_hospitals
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.store.tables import metadata
from bcd.validation.model import FileReading, open_validated_model
from bcd.validation.predictions import Predictions, read_prediction_file
from bcd.validation.validate import evaluate_on_delivery, evaluate_on_protocol, evaluate_predictions

OPTIONS = EvaluateOptions(resamples=100, min_patients=2, min_patches=5)
LISTED = sorted(published_list("val"))[:3]


def write_delivery(folder: Path, patients: list[str], *, seed: int, labelled: bool = True) -> Path:
    """Writes six patches of each patient, half of them IDC, which red tells."""
    rng = np.random.default_rng(seed)
    for patient in patients:
        pixels = rng.integers(60, 100, (6, 50, 50, 3), dtype=np.uint8)
        pixels[1::2, ..., 0] += np.uint8(100)
        write_folder(folder, name_pixels(patient, pixels, labels=(0, 1) if labelled else (None,)))
    return folder


@dataclass(frozen=True)
class Home:
    store: Store
    snapshot: Snapshot


@pytest.fixture(scope="module")
def home(shared_settings: Settings, register: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with 20 patients, three of them on the published list of val, and two versions trained on it."""
    store = open_store(shared_settings)
    declare_hospital(store, "north", "pseudonyms", SignOff("a test", "test"))
    patients = LISTED + [f"p{number}" for number in range(17)]
    delivery = write_delivery(tmp_path_factory.mktemp("inbox") / "first", patients, seed=1)
    admit(store, delivery, Hospital("north"))
    snapshot = freeze_snapshot(store, SplitOptions())
    register(shared_settings, "red", snapshot=snapshot.id)
    register(shared_settings, "green", snapshot=snapshot.id)
    return Home(store, snapshot)


def read_store(home: Home) -> dict[str, Any]:
    """Reads everything that is kept: every file but evaluations and MLflow's, and every row of the catalog."""
    with home.store.read() as connection:
        rows = {
            table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in metadata.sorted_tables
        }
    left = {"mlflow", "evaluations", "catalog.db", "catalog.db-wal", "catalog.db-shm"}
    folders = [path for root in (home.store.settings.home, home.store.settings.keys) for path in root.rglob("*")]
    files = [path for path in folders if path.is_file() and left.isdisjoint(path.parts)]
    return rows | {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_test_patients_of_its_snapshot_evaluate_a_model(home: Home) -> None:
    validation, scores = evaluate_on_protocol(home.store, ["1", "2"], "natural", options=OPTIONS)
    evaluation = validation.evaluations["bcd-idc/1"]
    test = home.snapshot.of("test")
    assert (evaluation.snapshot, evaluation.split) == (home.snapshot.id, "test")
    assert (evaluation.n_patches, evaluation.n_patients) == (len(test), test["patient"].nunique())
    assert evaluation.per_batch[0].name == test["batch"].iloc[0]
    assert [(pair.first, pair.second) for pair in validation.differences] == [("bcd-idc/1", "bcd-idc/2")]
    own = open_validated_model(home.store.settings, "1").score(read_batch_pixels(home.store.settings, test))
    np.testing.assert_allclose(scores["bcd-idc/1"]["probability"], own["probability"], atol=1e-6)


def test_founding_states_its_class_balance(home: Home) -> None:
    validation, _ = evaluate_on_protocol(home.store, ["1"], "founding", options=OPTIONS)
    assert validation.evaluations["bcd-idc/1"].at_prevalence.prevalence == 0.5
    other = OPTIONS.model_copy(update={"at_prevalence": 0.3})
    with pytest.raises(BcdError, match=r"\b0\.5\b.*\b0\.3\b"):
        evaluate_on_protocol(home.store, ["1"], "founding", options=other)


def test_a_model_that_has_seen_a_listed_patient_is_refused(home: Home) -> None:
    seen = set(home.snapshot.patches.query("split in ('train', 'val')")["patient"])
    assert seen & set(LISTED)  # as `dealt` dealt them
    with pytest.raises(LeakageError, match="bcd-idc/1"):
        evaluate_on_protocol(home.store, ["1"], "cruz-roa-2014-dev", options=OPTIONS)


def test_a_protocol_evaluates_by_the_patients_that_it_lists(home: Home, register: Callable[..., Any]) -> None:
    dev = freeze_snapshot(home.store, SplitOptions(protocol="cruz-roa-2014-dev"))
    bundle = register(home.store.settings, "red", key="dev", snapshot=dev.id)
    validation, scores = evaluate_on_protocol(home.store, [bundle.version], "cruz-roa-2014-dev", options=OPTIONS)
    assert set(scores[bundle.name]["patient"]) == set(LISTED)
    assert validation.evaluations[bundle.name].n_patients == 3
    assert re.match(r"3 of the 29 ", validation.notes[0])
    with pytest.raises(InsufficientEvidenceError, match=r"\b49\b"):
        evaluate_on_protocol(home.store, ["1"], "cruz-roa-2014", options=OPTIONS)


@pytest.mark.parametrize("which", ["models:/bcd-idc/1", "bcd-idc/1", "1"])
def test_a_bundle_is_named_as_people_name_it(which: str, home: Home) -> None:
    assert open_validated_model(home.store.settings, which).name == "bcd-idc/1"


@pytest.mark.parametrize("which", ["models:/other/1", "models:/bcd-idc", "models:/bcd-idc@nobody", "nowhere.keras"])
def test_a_model_that_is_not_there_is_an_error(which: str, home: Home) -> None:
    with pytest.raises(BcdError):
        open_validated_model(home.store.settings, which)


def test_a_file_of_a_network_is_evaluated_and_said_to_be_uncalibrated(home: Home, networks: dict[str, Path]) -> None:
    validation, scores = evaluate_on_protocol(
        home.store, [str(networks["red"])], "natural", options=OPTIONS, snapshot=home.snapshot.id
    )
    assert validation.evaluations["red.keras"].pooled["auroc"].value == 1
    assert any("calibrated" in note for note in validation.notes)
    logits = scores["red.keras"]["logit"]
    np.testing.assert_allclose(scores["red.keras"]["probability"], 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_an_exported_file_gives_the_scores_of_its_bundle(home: Home, tmp_path: Path) -> None:
    from bcd.bundle.export.export import export_bundle
    from bcd.bundle.registry import open_bundle_folder, require_registered_version

    with open_bundle_folder(home.store.settings, require_registered_version(home.store.settings, "1")) as folder:
        export_bundle(folder, "bcd-idc/1", "keras", tmp_path / "bcd.keras")
    pixels = read_batch_pixels(home.store.settings, home.snapshot.of("test"))
    exported, bundle = (
        open_validated_model(home.store.settings, which) for which in (str(tmp_path / "bcd.keras"), "1")
    )
    np.testing.assert_allclose(exported.score(pixels)["probability"], bundle.score(pixels)["probability"], atol=1e-4)


PIXELS = np.random.default_rng(5).integers(0, 256, (4, 50, 50, 3), dtype=np.uint8)


def write_network(file: Path, *, scaled: bool = True, activation: str = "sigmoid") -> Any:
    """Writes a network of somebody else's to `file` and returns it."""
    import keras

    layers = keras.layers
    start = [layers.Rescaling(1 / 255)] if scaled else []
    look = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalMaxPooling2D()]
    network = keras.Sequential(
        [keras.Input((50, 50, 3)), *start, *look, layers.Dense(2 if activation == "softmax" else 1, activation)]
    )
    network.save(file)
    return network


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_answer_of_a_file_of_others_is_its_own(activation: str, home: Home, tmp_path: Path) -> None:
    network = write_network(tmp_path / "theirs.keras", activation=activation)
    scores = open_validated_model(home.store.settings, str(tmp_path / "theirs.keras")).score(PIXELS)
    np.testing.assert_allclose(scores["probability"], network.predict_on_batch(PIXELS)[:, -1], rtol=1e-4)


def test_pixel_values_that_a_file_does_not_show_are_asked_for(home: Home, tmp_path: Path) -> None:
    network = write_network(tmp_path / "theirs.keras", scaled=False)
    with pytest.raises(BcdError, match="--pixels"):
        open_validated_model(home.store.settings, str(tmp_path / "theirs.keras"))
    model = open_validated_model(home.store.settings, str(tmp_path / "theirs.keras"), FileReading(pixels="0..1"))
    expected = network.predict_on_batch(PIXELS / 255)[:, 0]
    np.testing.assert_allclose(model.score(PIXELS)["probability"], expected, rtol=1e-4)


def test_only_networks_of_bcd_get_prepared_patches_unless_it_is_said(home: Home, tmp_path: Path) -> None:
    sharpened = prepare(PIXELS, PrepareOptions())
    theirs = write_network(tmp_path / "theirs.keras")
    told = open_validated_model(home.store.settings, str(tmp_path / "theirs.keras"), FileReading(prepared=True))
    np.testing.assert_allclose(told.score(PIXELS)["probability"], theirs.predict_on_batch(sharpened)[:, 0], rtol=1e-4)
    own = build_network(PRESETS["compact"])
    own.save(tmp_path / "own.keras")
    found = open_validated_model(home.store.settings, str(tmp_path / "own.keras")).score(PIXELS)
    np.testing.assert_allclose(found["logit"], own.predict_on_batch(sharpened)[:, 0], rtol=1e-4, atol=1e-5)


def test_a_network_of_something_else_is_refused(home: Home, tmp_path: Path) -> None:
    import keras

    file = tmp_path / "other.keras"
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(file)
    with pytest.raises(BcdError, match=r"\b8\b.*50x50x3"):
        open_validated_model(home.store.settings, str(file))


@pytest.mark.parametrize("name", ["a.keras", "a.onnx", "saved"])
def test_what_is_no_keras_file_is_never_taken_for_a_version(name: str, home: Home, tmp_path: Path) -> None:
    if name == "saved":
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(b"\x08")
    else:
        (tmp_path / name).write_bytes(b"\x08")
    with pytest.raises(BcdError, match=rf"{name} is"):
        open_validated_model(home.store.settings, str(tmp_path / name))


def write_predictions(path: Path, patches: pd.DataFrame, **columns: Any) -> Predictions:
    table = patches[["patient", "x", "y", "label"]].assign(theirs=0.5, **columns)
    table.to_csv(path, index=False)
    return read_prediction_file(path)


def test_a_model_is_put_beside_predictions_on_the_same_patches(home: Home, tmp_path: Path) -> None:
    test = home.snapshot.of("test").sample(frac=1, random_state=2)  # in any order
    extra = test.iloc[:1].assign(patient="unknown")
    predictions = write_predictions(tmp_path / "their.csv", pd.concat([extra, test]))
    validation, scores = evaluate_predictions(home.store, predictions, ["1"], options=OPTIONS)
    assert list(validation.evaluations) == ["theirs", "bcd-idc/1"]
    assert {e.n_patches for e in validation.evaluations.values()} == {len(test)}
    assert validation.evaluations["bcd-idc/1"].pooled["auroc"].value == 1
    assert validation.evaluations["theirs"].pooled["auroc"].value == 0.5
    [missing] = [note for note in validation.notes if note.startswith("1 of the")]
    assert re.search(r"their\.csv .*line 2: unknown_idx", missing)
    assert scores["theirs"]["x"].tolist() == scores["bcd-idc/1"]["x"].tolist()


def test_predictions_of_patients_that_the_model_has_seen_are_refused(home: Home, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "their.csv", home.snapshot.of("train"))
    with pytest.raises(LeakageError, match="bcd-idc/1"):
        evaluate_predictions(home.store, predictions, ["1"], options=OPTIONS)


def test_a_label_that_differs_from_the_store_s_is_named(home: Home, tmp_path: Path) -> None:
    test = home.snapshot.of("test")
    predictions = write_predictions(tmp_path / "their.csv", test.assign(label=1 - test["label"]))
    with pytest.raises(BcdError, match=rf"\b{len(test)} labels"):
        evaluate_predictions(home.store, predictions, ["1"], options=OPTIONS)


def test_predictions_need_no_store(home: Home, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "their.csv", home.snapshot.of("train"), second=0.25)
    validation, _ = evaluate_predictions(None, predictions, [], options=OPTIONS)
    assert list(validation.evaluations) == ["theirs", "second"]


def test_a_delivery_is_evaluated_on_and_nothing_is_stored(home: Home, tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path / "outside", ["q1", "q2", "q3"], seed=2)
    write_delivery(delivery, ["q4"], seed=3, labelled=False)
    (delivery / "notes.txt").write_text("not a patch")
    before = read_store(home)
    validation, scores = evaluate_on_delivery(home.store.settings, delivery, Hospital("west"), ["1"], options=OPTIONS)
    assert read_store(home) == before
    evaluation = validation.evaluations["bcd-idc/1"]
    assert (evaluation.n_patches, evaluation.n_patients) == (18, 3)
    assert evaluation.pooled["accuracy"].value == 1
    assert set(scores["bcd-idc/1"]["hospital"]) == {"west"}
    assert "name 1" in validation.notes[0]
    assert re.match(r"6 patches\b", validation.notes[1])


def test_pixels_that_a_model_was_trained_on_are_known_under_any_name(home: Home, tmp_path: Path) -> None:
    patients = [f"other{number}" for number in range(20)]
    copied = write_delivery(tmp_path / "copied", patients, seed=1)
    with pytest.raises(LeakageError, match="pixels"):
        evaluate_on_delivery(home.store.settings, copied, Hospital("west"), ["1"], options=OPTIONS)


def test_the_released_model_is_evaluated_on_patients_that_it_has_not_learned_from(
    home: Home, released: Path, tmp_path: Path
) -> None:
    settings = home.store.settings
    delivery = write_delivery(tmp_path / "new", [f"new{number}" for number in range(12)], seed=9)
    found, _ = evaluate_on_delivery(settings, delivery, Hospital("west"), ["released"], options=OPTIONS)
    assert list(found.evaluations) == ["bcd-idc/released"]
    same = write_delivery(tmp_path / "same", ["p0", "p1"], seed=9)
    with pytest.raises(BcdError, match="public/p0"):
        evaluate_on_delivery(settings, same, Hospital("public"), ["released"], options=OPTIONS)


def write_tissue(folder: Path, pixels: np.ndarray) -> Path:
    """Writes patches of two patients, labelled in turn."""
    for patient, part in zip(("t0", "t1"), np.split(pixels, 2), strict=True):
        write_folder(folder, name_pixels(patient, part))
    return folder


def test_patches_far_from_those_learned_from_are_noted_and_sharpened_ones_refused(
    home: Home, released: Path, tmp_path: Path
) -> None:
    evaluate = partial(
        evaluate_on_delivery, home.store.settings, hospital=Hospital("west"), models=["released"], options=OPTIONS
    )
    dull = write_tissue(
        tmp_path / "dull", np.stack([cv2.GaussianBlur(one, (0, 0), 0.7) for one in draw_tissue_probes(64)[40:]])
    )
    assert [note for note in evaluate(path=dull)[0].notes if "grey levels of fine detail" in note]
    sharpened = write_tissue(
        tmp_path / "sharpened", prepare(draw_tissue_probes(64)[40:], PrepareOptions(sharpen=True))
    )
    with pytest.raises(BcdError, match="sharpened"):
        evaluate(path=sharpened)


def test_a_delivery_without_labels_cannot_evaluate(home: Home, tmp_path: Path) -> None:
    unlabelled = write_delivery(tmp_path / "unlabelled", ["q1"], seed=4, labelled=False)
    with pytest.raises(InsufficientEvidenceError, match="unlabelled"):
        evaluate_on_delivery(home.store.settings, unlabelled, Hospital("west"), ["1"], options=OPTIONS)
    (unlabelled / "labels.csv").write_text("patient,slide,x,y,label\nQ1,5,1,1,0\n")
    with pytest.raises(InsufficientEvidenceError, match=r"labels\.csv .*\bcase\b"):
        evaluate_on_delivery(home.store.settings, unlabelled, Hospital("west"), ["1"], options=OPTIONS)


def test_slides_that_do_not_say_their_spacing_are_evaluated_on_at_the_one_that_is_given(
    home: Home, tmp_path: Path
) -> None:
    delivery = tmp_path / "slides"
    delivery.mkdir()
    tissue = np.random.default_rng(6).integers(90, 200, (600, 600, 3), dtype=np.uint8)
    tifffile.imwrite(delivery / "q9_idx1.tif", tissue, tile=(64, 64), photometric="rgb")
    rows = [f"q9,1,{x},{y},{(x + y) // 50 % 2}" for x in (1, 51, 101) for y in (1, 51, 101)]
    (delivery / "labels.csv").write_text("\n".join(["patient,slide,x,y,label", *rows]))
    with pytest.raises(BcdError, match="spacing"):
        evaluate_on_delivery(home.store.settings, delivery, Hospital("west"), ["1"], options=OPTIONS)
    validation, _ = evaluate_on_delivery(
        home.store.settings, delivery, Hospital("west"), ["1"], options=OPTIONS, spacing=1.0
    )
    assert validation.evaluations["bcd-idc/1"].n_patches == 9


def test_predictions_that_find_no_partner_in_the_store_are_shown_beside_its_patches(
    home: Home, tmp_path: Path
) -> None:
    test = home.snapshot.of("test")
    renamed = test.assign(patient="IDC-" + test["patient"])
    predictions = write_predictions(tmp_path / "their.csv", renamed)
    with pytest.raises(BcdError, match=r"their\.csv .*prefix.*line 2\) \| "):
        evaluate_predictions(home.store, predictions, ["1"], options=OPTIONS)
    predictions = write_predictions(tmp_path / "their.csv", test.iloc[1:])
    validation, _ = evaluate_predictions(home.store, predictions, ["1"], options=OPTIONS)
    assert [note for note in validation.notes if note.startswith("1 admitted patches")]


def test_a_model_is_evaluated_once(home: Home) -> None:
    with pytest.raises(BcdError, match="bcd-idc/1"):
        evaluate_on_protocol(home.store, ["1", "bcd-idc/1"], "natural", options=OPTIONS)


@pytest.mark.parametrize(
    "form",
    [
        "--model 1",
        "--model 1 --beside 2 --protocol founding",
        "--model red.keras",
        "--model red.keras --snapshot SNAPSHOT",
        "--model red.keras --protocol cruz-roa-2014-dev",
        "--predictions theirs.csv",
        "--predictions theirs.csv --beside 1",
        "--predictions theirs.csv --beside red.keras --protocol cruz-roa-2014-dev",
        "--data outside --model 1",
        "--data outside --model 1 --hospital raw",
    ],
)
def test_evaluating_deals_nobody_and_freezes_nothing(
    form: str,
    home: Home,
    networks: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = Hospital("raw")
    if raw not in {each.hospital for each in list_hospitals(home.store)}:
        declare_hospital(home.store, raw, "raw", SignOff("a test", "test"))
    new = f"n{len(form)}"  # whom no earlier form can have dealt
    admit(home.store, write_delivery(tmp_path / new, [new], seed=len(form)), Hospital("north"))
    test = home.snapshot.of("test")
    listed = home.snapshot.patches.query("patient in @LISTED and split != 'test'")
    outside = write_delivery(tmp_path / "outside", ["q1", "q2", "q3"], seed=2)
    write_predictions(tmp_path / "theirs.csv", listed if "dev" in form else test)
    places: dict[str, object] = {
        "red.keras": networks["red"],
        "theirs.csv": tmp_path / "theirs.csv",
        "outside": outside,
    }
    places["SNAPSHOT"] = home.snapshot.id
    before = read_store(home)
    monkeypatch.setenv("BCD_HOME", str(home.store.settings.home))
    monkeypatch.setenv("BCD_EVALUATION__MIN_PATIENTS", "2")
    words = [str(places.get(word, word)) for word in form.split()]
    result = CliRunner().invoke(app, ["evaluate", *words, "--resamples", "100"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Page: " in result.output
    assert read_store(home) == before


def test_test_patients_are_as_dealt_where_a_file_has_no_snapshot(home: Home, networks: dict[str, Path]) -> None:
    model = [str(networks["red"])]
    _, scores = evaluate_on_protocol(home.store, model, "natural", options=OPTIONS)
    assert set(scores["red.keras"]["patient"]) == set(home.snapshot.of("test")["patient"])


def test_nothing_is_evaluated_where_nobody_is_dealt(home: Home, networks: dict[str, Path]) -> None:
    held_out = {"splits": {"protocol": "leave-one-hospital-out", "held_out": "north"}}
    never = replace(home.store, settings=home.store.settings.model_copy(update=held_out))
    with pytest.raises(InsufficientEvidenceError, match=r"\btest\b"):
        evaluate_on_protocol(never, [str(networks["red"])], "natural", options=OPTIONS)
