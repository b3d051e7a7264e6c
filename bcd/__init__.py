"""bcd: keeps a breast-cancer patch classifier alive inside a hospital. Research use only.

Examples:
        from bcd import load_released
        load_released().score(pixels)  # raw patches, uint8 (n, 50, 50, 3), to a frame with a probability each
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcd.bundle.folder import FolderBundle

__version__ = "0.1.0"


def load_released() -> FolderBundle:
    """Loads the model that comes with bcd; needs no home, no server and no network.

    Raises:
        BcdError: This copy of bcd holds none: a checkout from before it was trained.
    """
    loaded: FolderBundle = import_module("bcd.bundle.released").load_released()  # so that `import bcd` stays quick
    return loaded
