"""Files of networks: what is no network, is damaged, or brings code along is told in a sentence; no code is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcd.errors import BcdError
from bcd.networks.backend import keras
from bcd.networks.keras_files import load_network

layers = keras.layers


def small(*end: Any) -> Any:
    """A network of patches that ends in those layers."""
    return keras.Sequential(
        [keras.Input((50, 50, 3)), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), *end, layers.Dense(1)]
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as a Keras file and as HDF5."""
    folder = tmp_path_factory.mktemp("saved")
    network = small()
    network.save(folder / "network.keras")
    network.save(folder / "network.h5")
    network.save_weights(folder / "only.weights.h5")
    return folder


def rewrite(file: Path, to: Path, change: Callable[[Any], None]) -> Path:
    """Copies a Keras file with its description changed."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                described = json.loads(content)
                change(described)
                content = json.dumps(described).encode()
            new.writestr(name, content)
    return to


def test_both_kinds_of_file_are_read(saved: Path) -> None:
    patches = np.full((2, 50, 50, 3), 200, np.uint8)
    both = [load_network(saved / name).predict_on_batch(patches) for name in ("network.keras", "network.h5")]
    np.testing.assert_allclose(*both)


def cut(saved: Path, name: str, to: Path) -> Path:
    to.write_bytes((saved / name).read_bytes()[:-2000])
    return to


def copy(file: Path, to: Path) -> Path:
    to.write_bytes(file.read_bytes())
    return to


def write(to: Path, content: bytes) -> Path:
    to.write_bytes(content)
    return to


def damage(saved: Path, to: Path) -> Path:
    content = bytearray((saved / "network.keras").read_bytes())
    at = content.index(b"Rescaling")
    content[at : at + 9] = b"Resoaling"
    return write(to, bytes(content))


def pack(to: Path, *names: str) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return to


def newer(saved: Path, to: Path) -> Path:
    def change(described: Any) -> None:
        described["config"]["layers"][-1]["config"]["made_by_a_newer_keras"] = None

    return rewrite(saved / "network.keras", to, change)


MALFORMED: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "absent": (lambda _, to: to / "absent.keras", "There is no file"),
    "folder": (lambda _, to: to, "folder"),
    "empty": (lambda _, to: write(to / "a.keras", b""), "empty"),
    "text": (lambda _, to: write(to / "a.keras", b"not a network"), "no Keras file"),
    "pointer": (lambda _, to: write(to / "a.keras", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "web page": (lambda _, to: write(to / "a.h5", b"\n<!doctype html>"), "HTML"),
    "onnx": (lambda _, to: write(to / "a.onnx", b"\x08\x0a\x12\x07pytorch"), "ONNX"),
    "pickle": (lambda _, to: write(to / "a.pkl", b"\x80\x04\x95"), "pickle"),
    "torch": (lambda _, to: pack(to / "a.pt", "a/data.pkl", "a/version"), "PyTorch"),
    "some zip": (lambda _, to: pack(to / "a.keras", "readme.txt"), "holds no config.json"),
    "no weights": (lambda _, to: pack(to / "a.keras", "config.json", "metadata.json"), "none of its weights"),
    "cut zip": (lambda saved, to: cut(saved, "network.keras", to / "a.keras"), "without its end"),
    "cut hdf5": (lambda saved, to: cut(saved, "network.h5", to / "a.h5"), "cut off or damaged"),
    "damaged": (lambda saved, to: damage(saved, to / "a.keras"), "damaged"),
    "weights alone": (lambda saved, _: saved / "only.weights.h5", "weights, but not the network"),
    "hdf5 as keras": (lambda saved, to: copy(saved / "network.h5", to / "a.keras"), r"Rename it to a\.h5"),
    "keras as hdf5": (lambda saved, to: copy(saved / "network.keras", to / "a.h5"), r"Rename it to a\.keras"),
    "no ending": (lambda saved, to: copy(saved / "network.keras", to / "a"), r"Rename it to a\.keras"),
    "newer": (lambda saved, to: newer(saved, to / "a.keras"), f"Keras {keras.__version__} cannot .*made_by_a_newer"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_network_is_told_in_a_sentence(case: str, saved: Path, tmp_path: Path) -> None:
    make, message = MALFORMED[case]
    with pytest.raises(BcdError, match=message) as told:
        load_network(make(saved, tmp_path))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 700
    assert "Train it again" not in str(told.value)


@pytest.mark.parametrize(
    ("case", "fix"),
    [
        ("pointer", "git lfs pull"),
        ("web page", "Download it again"),
        ("empty", "Copy it again"),
        ("text", "model.save"),
    ],
)
def test_what_to_do_about_a_file_is_something_that_helps(case: str, fix: str, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BcdError) as told:
        load_network(MALFORMED[case][0](saved, tmp_path))
    assert fix in told.value.fix


def test_a_file_of_this_keras_is_not_to_be_saved_with_it_again(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BcdError) as told:
        load_network(newer(saved, tmp_path / "a.keras"))
    assert "save it with" not in told.value.fix


class Custom(layers.Layer):  # type: ignore[misc, name-defined]
    """A layer of somebody's own."""

    def call(self, values: Any) -> Any:
        return values


def squash(values: Any) -> Any:
    return values


CODE = {
    "Lambda": lambda: layers.Lambda(lambda values: values / 2),
    "Custom": Custom,
    "squash": lambda: layers.Dense(1, activation=squash),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", CODE)
def test_code_that_a_file_brings_along_is_refused_by_name(name: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"network{suffix}"
    small(CODE[name]()).save(file)
    with pytest.raises(BcdError, match=name):
        load_network(file)


def test_a_class_of_another_package_is_not_even_imported(saved: Path, tmp_path: Path) -> None:
    def change(described: Any) -> None:
        described["config"]["layers"][1] |= {"module": "subprocess", "class_name": "Popen"}

    with pytest.raises(BcdError, match=r"Popen.*subprocess"):
        load_network(rewrite(saved / "network.keras", tmp_path / "a.keras", change))
