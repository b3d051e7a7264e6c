"""The model that comes with bcd: trained on the public IDC set, evaluated out of fold, ready to score.

    released/bundle/  figures.json  out-of-fold.parquet  *.png

Examples:
        from bcd import load_released
        load_released().score(pixels)  # raw patches, uint8 (n, 50, 50, 3)
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from bcd.bundle.folder import FolderBundle, load_folder
from bcd.bundle.scorer import RECORD
from bcd.errors import NotFoundError
from bcd.tracking.lookup import MODEL

RELEASED = "released"
"""How the model is named in commands, and what the origin of its registered copies is."""

OUT_OF_FOLD = "out-of-fold.parquet"
"""Score of every patch by a copy of the model that was trained without its patient."""


def released_folder() -> Path:
    """Returns the folder of the released model: its bundle, its figures and its out-of-fold scores."""
    return Path(__file__).parent


def released_bundle() -> Path:
    """Returns the folder of its bundle.

    Raises:
        BcdError: This copy of bcd holds none: a checkout from before it was trained.
    """
    folder = released_folder() / "bundle"
    if not (folder / RECORD).is_file():
        raise NotFoundError(
            f"This copy of bcd holds no released model: {folder} is not there.",
            "Install bcd from its wheel, name another model with --model, or train one: benchmarks/released.py.",
        )
    return folder


def load_released() -> FolderBundle:
    """Loads the released model; needs no home, no server and no network.

    Raises:
        BcdError: This copy of bcd holds none.
    """
    return load_folder(released_bundle(), f"{MODEL}/{RELEASED}")


def digest_released() -> str:
    """Returns a SHA-256 of all files of the released bundle, in hex: two versions of bcd may hold two models."""
    folder = released_bundle()
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
