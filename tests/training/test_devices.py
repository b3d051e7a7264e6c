"""A training shared by two devices is that of one: virtual devices, in a process of two.

JAX, a kill, and the noise of batch normalisation beside that of seeds, at full size only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcd.errors import BcdError

CUT = f"--confcutdir={Path(__file__).parent}"
"""For a process that needs none of the fixtures that stand on a registry."""

TRAININGS = Path(__file__).with_name("on_two_devices.py")


FULL = os.environ.get("BCD_TEST_FULL") == "1"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"] if FULL else ["tensorflow"])
def test_two_devices_train_as_one(backend: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        CUT,
        str(TRAININGS),
        "-k",
        "" if FULL else "not noise",
    ]
    # Programs as small as these are compiled longer than they run.
    hasty = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    two = {"KERAS_BACKEND": backend, "XLA_FLAGS": f"--xla_force_host_platform_device_count=2 {hasty}"}
    done = subprocess.run(command, env=os.environ | two, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"keras backend: {backend}" in done.stdout
    assert f"{3 if FULL else 2} passed" in done.stdout


def test_one_device_is_refused_where_two_are_asked_for() -> None:
    from bcd.networks.backend import keras
    from bcd.networks.devices import open_devices

    there = len(keras.distribution.list_devices())
    with pytest.raises(BcdError, match=rf"`devices`.*\b{there}\b"):
        open_devices(there + 1)
