"""Keras files: what a file is, is looked at before Keras reads it, and what Keras cannot read is told in a sentence.

Nothing in a file is executed: code that a file brings along (Lambda layers, classes of other packages) is refused
from its description.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError, NotFoundError

if TYPE_CHECKING:
    from keras import Model

HDF5 = (".h5", ".hdf5")
SUFFIXES = (".keras", *HDF5)
"""Endings of the files that `load_network` reads."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURE = b"PK\x03\x04"
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"\x80": "a pickle, as PyTorch and scikit-learn write them",
    b"\x08": "a Protocol Buffers file, such as ONNX or a frozen TensorFlow graph",
    b"\x1f\x8b": "packed with gzip",
    b"<": "an HTML or XML page",
    b"{": "JSON",
}
_SAVE_AGAIN = "Save the network with `model.save('network.keras')`, or evaluate its predictions with `--predictions`."
_COPY_AGAIN = "Copy it again."
_FETCH_AGAIN = {
    b"version https://git-lfs": "Fetch the file itself with `git lfs pull`.",
    b"<": "Download it again, and look at what came: the server may have asked for a password.",
}
"""What to do about files that are not what was asked for."""
_UNKNOWN = re.compile(r"(?:Unknown layer: |Could not locate (?:class|function) )('[^']*')")
_REASON = 200  # characters of what Keras says


def load_network(path: Path) -> Model:
    """Loads a network (keras.Model), ready to predict.

    Raises:
        BcdError: There is no such file, it is no Keras network, it is damaged, it brings code along, or this Keras
            cannot rebuild it.
    """
    config, version = _look_at(path)
    _refuse_code(path, config)
    from bcd.networks.backend import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise _tell_failure(path, error, version, keras.__version__) from error


def _tell_failure(path: Path, error: Exception, version: str, here: str) -> BcdError:
    reason = _find_keras_reason(error)
    if unknown := _UNKNOWN.search(reason):
        return _tell_code(path, f"{unknown[1]}, which is not one of Keras' own")
    written = f", which says that Keras {version} wrote it" if version else ""
    again = "" if version == here else f"Load it where it was made and save it with Keras {here}, or evaluate"
    return BcdError(
        f"{path}: Keras {here} cannot rebuild this network{written}: {reason}.",
        f"{again or 'Evaluate'} its predictions with `--predictions`.",
    )


def _look_at(path: Path) -> tuple[Any, str]:
    """Returns the description of the network in a file, and the version of Keras that wrote it."""
    if path.is_dir():
        raise BcdError(f"{path} is a folder; a network is one file, .keras or .h5.", _SAVE_AGAIN)
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", "Check the path.")
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(_HDF5_SIGNATURE):
        _require_suffix(path, HDF5, "an HDF5 file")
        return _look_at_hdf5(path)
    if start.startswith(_ZIP_SIGNATURE):
        return _look_at_zip(path)
    if not start:
        raise BcdError(f"{path} is empty.", _COPY_AGAIN)
    signature = next((each for each in _OTHERS if start.lstrip().startswith(each)), b"")
    what = _OTHERS.get(signature, "no Keras file")
    raise BcdError(f"{path} is {what}.", _FETCH_AGAIN.get(signature, _SAVE_AGAIN))


def _look_at_zip(path: Path) -> tuple[Any, str]:
    if not zipfile.is_zipfile(path):
        raise BcdError(f"{path} is cut off: it is a zip archive without its end.", _COPY_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "config.json" not in names:
                torch = any(name.endswith("data.pkl") for name in names)
                what = "a file of PyTorch" if torch else "a zip archive, but no Keras file: it holds no config.json"
                raise BcdError(f"{path} is {what}.", _SAVE_AGAIN)
            _require_suffix(path, (".keras",), "a Keras file")
            if not {"model.weights.h5", "model.weights.npz"} & set(names):
                raise BcdError(f"{path} describes a network, but holds none of its weights.", _SAVE_AGAIN)
            if (damaged := archive.testzip()) is not None:
                raise BcdError(f"{path} is damaged: {damaged} in it has changed.", _COPY_AGAIN)
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
            return json.loads(archive.read("config.json")), str(metadata.get("keras_version", ""))
    except (OSError, EOFError, ValueError, AttributeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise BcdError(f"{path} is damaged: {_find_keras_reason(error)}.", _COPY_AGAIN) from error


def _look_at_hdf5(path: Path) -> tuple[Any, str]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            described = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
            if described is None:
                weights = "weights, but not the network that they belong to"
                held = weights if any("weights" in key or "layer" in key for key in file) else "no Keras network"
                raise BcdError(f"{path} holds {held}.", _SAVE_AGAIN)
            return json.loads(described), version.decode() if isinstance(version, bytes) else str(version)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BcdError(f"{path} is cut off or damaged: {_find_keras_reason(error)}.", _COPY_AGAIN) from error


def _require_suffix(path: Path, suffixes: tuple[str, ...], what: str) -> None:
    if path.suffix not in suffixes:
        raise BcdError(
            f"{path} is {what}, and its ending says something else; Keras reads a file by its ending.",
            f"Rename it to {path.with_suffix(suffixes[0]).name}.",
        )


def _refuse_code(path: Path, config: Any) -> None:
    for part in _list_keras_parts(config):
        kind, module = part.get("class_name"), part.get("module")
        if kind in ("Lambda", "__lambda__"):
            what = "a Lambda layer, which is code"
        elif kind in ("TFOpLambda", "SlicingOpLambda"):
            what = f"an operation of TensorFlow ({part.get('name', kind)}), which Keras 3 does not know"
        elif isinstance(module, str) and module != "builtins" and module.split(".")[0] != "keras":
            what = f"{kind} of the package {module}, which is not one of Keras' own"
        elif module is None and part.get("registered_name"):
            what = f"the class {part['registered_name']}, which is not one of Keras' own"
        else:
            continue
        raise _tell_code(path, what)


def _tell_code(path: Path, what: str) -> BcdError:
    return BcdError(
        f"{path} needs {what}; code that a file brings along is never executed.",
        "Rebuild the network of Keras' own layers, or evaluate its predictions with `--predictions`.",
    )


def _list_keras_parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yields every object in a description that says its class."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _list_keras_parts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _list_keras_parts(value)


def _find_keras_reason(error: Exception) -> str:
    """Returns the innermost sentence of what Keras says, which repeats whole descriptions on the way to it."""
    innermost = str(error).rsplit("Exception encountered: ", maxsplit=1)[-1].strip()
    line = innermost.splitlines()[0] if innermost else type(error).__name__
    return line.removesuffix(".") if len(line) <= _REASON else f"{line[:_REASON]} …"
