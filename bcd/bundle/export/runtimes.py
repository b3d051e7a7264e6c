"""The runtimes of exported bundles: each writes its file with one, and scores from it with another."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from bcd.bundle.engine import import_openvino
from bcd.errors import BcdError

if TYPE_CHECKING:
    from keras import Model

Format = Literal["keras", "hdf5", "onnx", "openvino"]

Scores = dict[str, NDArray[np.float32]]
"""`logit` and `probability`, each (n,)."""

OUTPUTS = ("logit", "probability")

EXPORTED = "bcd_idc"
"""What the model in an exported file is called."""


@dataclass(frozen=True)
class Runtime:
    """How a format is written and used.

    Attributes:
        suffix: What its file is called.
        packages: What has to be installed to write it and to score from it, by their import names.
        converts: Whether a Keras model is converted rather than saved.
        write: Writes a Keras model to a path.
        score: Scores raw patches (n, 50, 50, 3) uint8 from a file.
    """

    suffix: str
    packages: tuple[str, ...]
    converts: bool
    write: Callable[[Model, Path], None]
    score: Callable[[Path, NDArray[np.uint8]], Scores]

    def require(self, name: str) -> None:
        """Raises a BcdError that names the extra, unless all packages are there."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise BcdError(
                f"The format {name} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                "installed.",
                "Run `pip install 'bcd[export]'`, or export to keras or hdf5.",
            )


def _save_exported(model: Model, path: Path) -> None:
    with _quiet_converters():
        model.save(path)


def _convert_exported(model: Model, path: Path, name: str) -> None:
    model(np.zeros((1, *model.input_shape[1:]), np.uint8))  # Keras converts no model that was never called
    with _quiet_converters():
        model.export(str(path), format=name, verbose=False)


def _score_with_keras(path: Path, pixels: NDArray[np.uint8]) -> Scores:
    from bcd.networks.backend import keras

    scores = keras.saving.load_model(path, compile=False).predict_on_batch(pixels)
    return {name: np.asarray(scores[name])[:, 0] for name in OUTPUTS}


def _write_onnx(model: Model, path: Path) -> None:
    _convert_exported(model, path, "onnx")


def _score_with_onnx(path: Path, pixels: NDArray[np.uint8]) -> Scores:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), {"patches": pixels})
    return {name: values[:, 0] for name, values in zip(OUTPUTS, found, strict=True)}


def write_openvino(model: Model, path: Path) -> None:
    """Writes a Keras model as OpenVINO's `.xml` with the weights beside it as `.bin`, in float32."""
    import_openvino()
    with _told_versions():
        _convert_exported(model, path, "openvino")


def _score_with_openvino(path: Path, pixels: NDArray[np.uint8]) -> Scores:
    # Left alone, OpenVINO computes in bfloat16 where the processor can, and is off by up to 0.02.
    compiled = import_openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(pixels)
    return {name: np.asarray(found[name])[:, 0] for name in OUTPUTS}


@contextmanager
def _told_versions() -> Iterator[None]:
    """Tells OpenVINO's converter a version that it looks up in a way which Python 3.13 does not allow (PEP 667)."""
    from importlib.metadata import version

    from openvino.frontend.tensorflow import utils

    before = utils.get_environment_setup
    utils.get_environment_setup = lambda _framework: {"tensorflow": version("tensorflow")}
    try:
        yield
    finally:
        utils.get_environment_setup = before


@contextmanager
def _quiet_converters() -> Iterator[None]:
    """Holds back what the converters say about deprecations of their own and about HDF5 being an old format."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


RUNTIMES: dict[Format, Runtime] = {
    "keras": Runtime(".keras", (), False, _save_exported, _score_with_keras),
    "hdf5": Runtime(".h5", ("h5py",), False, _save_exported, _score_with_keras),
    "onnx": Runtime(".onnx", ("onnx", "tf2onnx", "onnxruntime"), True, _write_onnx, _score_with_onnx),
    "openvino": Runtime(".xml", ("openvino",), True, write_openvino, _score_with_openvino),
}
"""Every format, with what writes and reads it."""
