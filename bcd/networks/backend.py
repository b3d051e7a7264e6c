"""Keras, with its backend chosen: TensorFlow unless KERAS_BACKEND says otherwise.

Everything in bcd takes Keras from here, inside the function that needs it, since the import takes seconds.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def _hold_native_messages() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and shows it only where the block fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


class _Skipping(MetaPathFinder):
    """Has this thread find packages missing that are imported only in case somebody uses them with Keras."""

    def __init__(self, packages: set[str]) -> None:
        self._packages, self._thread = packages, threading.get_ident()

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in self._packages and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is skipped", name=fullname)

    def __enter__(self) -> None:
        sys.meta_path = [self, *sys.meta_path]  # a new list: another thread may be reading the old one

    def __exit__(self, *_: object) -> None:
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]


# TensorFlow's own variable does not reach its Python messages about functions that are traced again.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# TensorFlow greets with its CPU's features before it reads its own log level. For its converters it imports JAX, and
# Keras matplotlib and scikit-learn for what nobody here calls: a third of the time of all these imports.
with _hold_native_messages(), _Skipping({"matplotlib", "sklearn", "jax"} - {os.environ["KERAS_BACKEND"]}):
    import keras

# TensorFlow's logger keeps the error stream of this moment, be it a progress bar's or a test's, and closes it
# whenever logging is configured anew (as Prefect does); the process's own stream it leaves open.
if "absl.logging" in sys.modules:
    sys.modules["absl.logging"].get_absl_handler().python_handler.stream = sys.__stderr__


@contextmanager
def use_keras_precision(precision: str) -> Iterator[None]:
    """Layers made in the block compute in `float32` or `mixed` precision, or (`auto`) as the device gains from.

    On two AVX2 cores bfloat16 is slower than float32, so only a GPU counts as gaining.
    """
    before = keras.config.dtype_policy()
    mixed = precision == "mixed" or (precision == "auto" and has_gpu())
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def has_gpu() -> bool:
    """Whether the backend computes on a GPU."""
    return any(device.startswith(("gpu", "cuda")) for device in keras.distribution.list_devices())


__all__ = ["has_gpu", "keras", "use_keras_precision"]
