"""The same training on another backend, at full size; `make backends` runs all of networks and training on both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CUT = f"--confcutdir={Path(__file__).parent}"
"""For a process that needs none of the fixtures that stand on a registry."""

OTHER = {"tensorflow": "jax", "jax": "tensorflow"}


@pytest.mark.skipif(os.environ.get("BCD_TEST_FULL") != "1", reason="make backends")
def test_the_same_training_learns_on_the_other_backend() -> None:
    from bcd.networks.backend import keras

    other = OTHER.get(keras.backend.backend())
    if other is None:
        pytest.skip("runs on TensorFlow and on JAX")
    learns = f"{Path(__file__).with_name('test_fit.py')}::test_a_separable_task_is_learned"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", CUT, learns]
    environment = os.environ | {"KERAS_BACKEND": other}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:]
    assert f"keras backend: {other}" in done.stdout
    assert "1 passed" in done.stdout
