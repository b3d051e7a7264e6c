"""Importing Keras, which takes seconds, takes no more of them than it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys

UNUSED = ["jax", "matplotlib", "sklearn"]

CODE = f"""
import json, sys, bcd.networks.backend
before = [name for name in {UNUSED} if name in sys.modules]
import jax, matplotlib.pyplot, sklearn.metrics
print(json.dumps(before))
"""


def test_what_nobody_uses_with_keras_is_not_imported_with_it_and_can_be_afterwards() -> None:
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    told = subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True)
    assert json.loads(told.stdout) == []
