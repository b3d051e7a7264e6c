"""The released model: folds by patient, resumption by fold, a folder that loads, figures that follow from scores."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import released
from PIL import Image
from released_context import COMPLETE, evaluate_slides
from released_figures import OPTIONS, Computed, compare, compute, cross_fit, differences, fit_by_fold, match, of_list
from released_folder import Release, gather_release, write_released
from released_training import (
    FOLDS,
    Patients,
    Recipe,
    digest_files,
    find_members,
    fold_folder,
    member_options,
    open_patients,
    read_natural,
    released_copy,
    train_member,
)

from bcd.bundle.folder import load_folder
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.released import OUT_OF_FOLD, released_folder
from bcd.errors import BcdError
from bcd.evaluation.policy.context import fit_context
from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.patches import patient_keys
from bcd.preprocessing.options import PrepareOptions
from bcd.training.data import find_rows_left_out_of_training
from bcd.training.fit import find_trained_network
from bcd.training.options import TrainOptions

PATIENTS, PATCHES = 12, 10
TINY = Recipe(
    Architecture(stem=Stem(filters=4, stride=3), stages=[Stage(filters=4, depth=1)], head=Head()),
    TrainOptions(epochs=1, batch_size=8, keep="last", min_val_patients=0, min_train_patients=2, seed=1),
    PrepareOptions(),
    turns=8,
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A tiny recipe, trained: who on, where, and what files of data there were."""

    patients: Patients
    folder: Path
    delivery: Path
    natural: Path

    def gather(self) -> Release:
        digests = digest_files([self.delivery, self.natural])
        return gather_release(self.patients, TINY, self.folder, read_natural(self.natural), digests)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One member on 12 patients of 10 patches; the natural sample is 6 of each."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "data").mkdir()
    names = deliver(folder / "data" / "delivery.zip")
    natural = folder / "natural.txt"
    natural.write_text("\n".join(name for name in names if "_y1_" not in name or "x1_" in name) + "\n")
    patients = open_patients(folder / "data", folder / "home", TINY)
    train_member(patients.prepared, TINY, 0, folder)
    return Trained(patients, folder, folder / "data" / "delivery.zip", natural)


@pytest.fixture(scope="module")
def written(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    to = tmp_path_factory.mktemp("package")
    write_released(trained.gather(), to)
    return to


def deliver(path: Path) -> list[str]:
    """Writes a delivery in which IDC is darker in the middle, and returns the names of its patches."""
    pixels, names = draw_tissue_probes(PATIENTS * PATCHES).copy(), []
    with zipfile.ZipFile(path, "w") as archive:
        for number, patch in enumerate(pixels):
            patient, place, label = 9000 + number // PATCHES, number % PATCHES, number % 2
            if label:
                patch[15:35, 15:35] //= 2
            name = f"{patient}_idx5_x{1 + 50 * (place % 5)}_y{1 + 50 * (place // 5)}_class{label}.png"
            file = io.BytesIO()
            Image.fromarray(patch).save(file, format="PNG")
            archive.writestr(f"{patient}/{label}/{name}", file.getvalue())
            names.append(name)
    return names


def test_each_patient_is_left_out_of_exactly_one_fold(trained: Trained) -> None:
    prepared = trained.patients.prepared
    folds = [find_rows_left_out_of_training(prepared, member_options(TINY, 0, fold)) for fold in range(FOLDS)]
    assert sorted(np.concatenate(folds)) == list(range(PATIENTS * PATCHES))
    keys = patient_keys(prepared.snapshot.patches)
    assert sum(keys.iloc[rows].nunique() for rows in folds) == PATIENTS


def test_members_differ_in_their_seed_and_the_released_copy_leaves_nobody_out() -> None:
    assert [member_options(TINY, member, 2).seed for member in range(3)] == [1, 2, 3]
    assert member_options(TINY, 1, 2).fold == 2
    assert member_options(TINY, 1).folds == 0


def test_a_second_run_trains_what_is_missing_alone(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    before = released_copy(trained.folder, 0).joinpath("network.keras").read_bytes()
    (fold_folder(trained.folder, 0, 1) / "training.json").unlink()  # killed before the record of the second fold
    (fold_folder(trained.folder, 0, 1) / "left-out.parquet").unlink()
    assert find_members(trained.folder) == []
    train_member(trained.patients.prepared, TINY, 0, trained.folder)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["member-0/fold-1"]
    assert released_copy(trained.folder, 0).joinpath("network.keras").read_bytes() == before
    assert len(find_members(trained.folder)) == 1


def test_a_member_counts_when_its_folds_and_its_released_copy_are_finished(trained: Trained, tmp_path: Path) -> None:
    assert find_members(tmp_path) == []
    with pytest.raises(BcdError, match=re.escape(str(tmp_path))):
        gather_release(trained.patients, TINY, tmp_path, read_natural(trained.natural), {})


def test_the_folder_loads_and_scores_as_the_released_copy_does(trained: Trained, written: Path) -> None:
    bundle = load_folder(written / "bundle")
    assert (bundle.record.origin, bundle.record.ensemble.members, bundle.record.ensemble.turns) == ("released", 1, 8)
    copy = find_trained_network(released_copy(trained.folder, 0))
    assert copy is not None
    assert bundle.record.training.folds == copy.options.folds == 0
    raw = trained.patients.read(np.arange(5))
    assert np.isfinite(bundle.scorer.score(raw)["probability"]).all()
    assert bundle.seen is not None
    patches = trained.patients.prepared.snapshot.patches
    assert bundle.seen.find_pixels(patches.assign(hospital="elsewhere")).all()


def test_written_again_the_folder_is_the_same_bytes(trained: Trained, written: Path, tmp_path: Path) -> None:
    write_released(trained.gather(), tmp_path)
    files = {path.relative_to(written) for path in written.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == files
    assert {str(file) for file in files} >= {"figures.json", "out-of-fold.parquet", "errors.png"}
    for file in files:
        assert (tmp_path / file).read_bytes() == (written / file).read_bytes(), file


def test_the_stored_figures_follow_from_the_stored_scores(written: Path) -> None:
    assert released.check(written) == 0


def test_a_figure_that_does_not_follow_is_told(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_folder(written, tmp_path)
    figures = json.loads((tmp_path / "figures.json").read_text())
    figures["everything"]["pooled"]["accuracy"]["value"] += 0.01
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    assert released.check(tmp_path) == 1
    assert "/everything/pooled/accuracy/value" in capsys.readouterr().out


def test_scores_that_were_changed_are_told(written: Path, tmp_path: Path) -> None:
    copy_folder(written, tmp_path)
    scores = pd.read_parquet(tmp_path / "out-of-fold.parquet")
    scores.assign(logit_1=-scores["logit_1"]).to_parquet(tmp_path / "out-of-fold.parquet")
    assert released.check(tmp_path) == 1


def copy_folder(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())


@pytest.fixture
def scores() -> pd.DataFrame:
    """60 patients of 12 patches, 8 of them natural; logits say little of the label."""
    draw = np.random.default_rng(3)
    patient = np.repeat(np.arange(60), 12)
    label = draw.integers(0, 2, len(patient)).astype(np.int8)
    return pd.DataFrame(
        {
            "hospital": "h",
            "patient": [str(10000 + number) for number in patient],
            "slide": "5",
            "x": 1 + 50 * np.tile(np.arange(12), 60),
            "y": 1,
            "label": label,
            "fold": patient % FOLDS,
            "natural": np.tile(np.arange(12) < 8, 60),
            "logit_1": draw.normal(2.0 * label - 1, 1.5).astype(np.float32),
            "logit_2": draw.normal(2.0 * label - 1, 1.5).astype(np.float32),
        }
    )


def test_a_calibrator_for_a_fold_never_saw_its_patients_nor_patches_outside_the_natural_sample(
    scores: pd.DataFrame,
) -> None:
    scores = scores.assign(logit=scores["logit_1"])
    unseen = (scores["fold"] == 0) | ~scores["natural"]
    other = scores.assign(label=scores["label"].where(~unseen, 1 - scores["label"]))
    assert fit_by_fold(scores)[0] == fit_by_fold(other)[0]
    assert fit_by_fold(scores)[1] != fit_by_fold(other)[1]
    found = cross_fit(scores, fit_by_fold(scores))
    mine = found[found["fold"] == 0]
    assert np.allclose(mine["probability"], fit_by_fold(scores)[0].calibrator.apply(mine["logit"]))


def test_figures_are_of_the_mean_logit_and_the_natural_ones_of_the_natural_sample(scores: pd.DataFrame) -> None:
    computed = compute(scores, "s" * 64)
    assert np.allclose(computed.scores["logit"], (scores["logit_1"] + scores["logit_2"]) / 2)
    assert (computed.natural.n_patches, computed.everything.n_patches) == (480, 720)
    assert computed.yardsticks[-1].patches == int(of_list(scores, "unlisted").sum())


def test_equal_predictions_gain_nothing_and_a_coin_loses(scores: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    same = 1 / (1 + np.exp(-(scores["logit_1"] + scores["logit_2"]) / 2))
    coin = np.random.default_rng(1).random(len(scores))
    scores[["patient", "x", "y", "label"]].assign(same=same, coin=coin).to_csv(file, index=False)
    both, missing = match(scores, file)
    assert (len(both), missing) == (len(scores), 0)
    gains = {name: gain for name, _, _, gain in compare(both, ["same", "coin"])}
    assert gains["same"].value == pytest.approx(0, abs=1e-9)
    low = gains["coin"].low
    assert low is not None
    assert low > 0.1


def test_predictions_of_unknown_patches_are_counted_and_of_nothing_else_refused(
    scores: pd.DataFrame, tmp_path: Path
) -> None:
    file = tmp_path / "other.csv"
    known = scores[["patient", "x", "y", "label"]].assign(net=0.5)
    unknown = known.assign(patient="1", y=range(len(scores)))
    pd.concat([known, unknown.head(7)]).to_csv(file, index=False)
    assert match(scores, file)[1] == 7
    unknown.to_csv(file, index=False)
    with pytest.raises(BcdError, match=re.escape(str(file))):
        match(scores, file)


def test_differences_name_the_place_and_forgive_rounding() -> None:
    stored = {"a": [1.0, None], "b": "x"}
    assert list(differences({"a": [1.0 + 1e-9, None], "b": "x"}, stored)) == []
    assert list(differences({"a": [1.1, None], "b": "x"}, stored)) == ["/a/0: 1.1, stored 1.0"]
    assert len(list(differences({"a": [1.0], "c": 1}, stored))) == 3


@pytest.fixture(scope="module")
def packaged() -> Computed:
    """What follows from the out-of-fold scores of the package."""
    return compute(pd.read_parquet(released_folder() / OUT_OF_FOLD), "s" * 64)


def test_each_complete_slide_gains_from_a_stage_that_never_saw_it(packaged: Computed) -> None:
    *slides, mean, made_up = packaged.context
    assert [slide.title for slide in slides] == list(COMPLETE)
    for slide in (*slides, made_up):
        assert slide.auroc.fitted > slide.auroc.alone
        assert slide.best_f1.fitted > slide.best_f1.alone
    assert mean.auroc.fitted > mean.auroc.alone + 0.01
    assert mean.best_f1.fitted > mean.best_f1.alone + 0.03
    assert packaged.policy.context is not None
    assert re.findall(r"\d+", packaged.policy.context.standing) == ["3", "10"]
    assert packaged.policy.context.certified == ()


def test_a_slides_own_labels_do_not_move_its_score_in_context(packaged: Computed) -> None:
    scores = packaged.scores
    mine = scores["patient"] == "8865"
    policies = fit_by_fold(scores)
    other = scores.assign(label=scores["label"].where(~mine, 1 - scores["label"]))
    before, after = (evaluate_slides(each, policies)[1] for each in (scores, other))
    assert after.auroc.fitted == pytest.approx(1 - before.auroc.fitted)  # the same scores, and every label the other


def test_no_thinned_patient_has_a_part_in_the_stage(packaged: Computed) -> None:
    scores = packaged.scores
    thinned = ~scores["complete"]
    assert sorted(scores.loc[~thinned, "patient"].unique()) == list(COMPLETE)
    other = scores.assign(label=scores["label"].where(~thinned, 0))
    assert fit_context(other, packaged.policy.calibrator, OPTIONS) == packaged.policy.context


def test_the_stage_is_written_from_the_stored_scores_alone(tmp_path: Path) -> None:
    for name in (OUT_OF_FOLD, "figures.json", "bundle/bundle.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(released_folder() / name, tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in ("figures.json", "bundle/bundle.json")}
    record = json.loads(before["bundle/bundle.json"])
    record["policy"]["context"] = None
    (tmp_path / "bundle/bundle.json").write_text(json.dumps(record))
    (tmp_path / "figures.json").write_text(json.dumps(json.loads(before["figures.json"]) | {"context": []}))
    assert released.check(tmp_path) == 1
    released.print_context(tmp_path, tmp_path / "slide.png")
    # The package's own, which follow from its scores: the next test.
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert Image.open(tmp_path / "slide.png").width > 1000


def test_the_figures_of_the_package_follow_from_its_scores() -> None:
    assert released.check(released_folder()) == 0


def test_the_package_holds_at_most_five_megabytes() -> None:
    files = [path for path in released_folder().rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    assert sum(path.stat().st_size for path in files) < 5e6
