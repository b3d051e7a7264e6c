"""The model that `bcd evaluate` is given: a registered bundle, or a file of a network.

Examples:
        model = open_model(load_settings(), "models:/bcd-idc@champion")
        model.score(pixels)[["logit", "probability"]]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.export.runtimes import EXPORTED, OUTPUTS
from bcd.bundle.folder import FolderBundle
from bcd.bundle.registry import Bundle, load_bundle
from bcd.bundle.released import RELEASED, load_released
from bcd.errors import BcdError
from bcd.networks.build import is_bcd_network
from bcd.networks.foreign import PixelRange, understand_network
from bcd.networks.keras_files import SUFFIXES, load_network
from bcd.preprocessing.options import PrepareOptions
from bcd.progress import track_progress
from bcd.settings import Settings
from bcd.tracking.lookup import MODEL

if TYPE_CHECKING:
    import pandas as pd
    from keras import Model

_SCHEME = "models:/"
_BATCH = 256


@dataclass(frozen=True)
class EvaluatedModel:
    """A model that can be evaluated.

    Attributes:
        name: What it is called.
        score: Raw patches, uint8 (n, 50, 50, 3), to a frame of logit and probability.
        bundle: The registered bundle, or the released one; None: a file of a network.
        note: What a reader must know of it; empty: nothing.
    """

    name: str
    score: Callable[[np.ndarray], pd.DataFrame]
    bundle: Bundle | FolderBundle | None
    note: str


@dataclass(frozen=True)
class FileReading:
    """How the file of a network is read where it does not say it itself.

    Attributes:
        pixels: The pixel values that it expects; None: a file that does not show them is refused.
        prepared: Whether a network that bcd did not train gets patches prepared as `[preparation]` says, and not as
            they were cut.
    """

    pixels: PixelRange | None = None
    prepared: bool = False


AS_FOUND = FileReading()
"""A file is read by what it shows."""


def open_validated_model(settings: Settings, which: str, reading: FileReading = AS_FOUND) -> EvaluatedModel:
    """Opens a model.

    Args:
        settings: Where the registry is, and how patches are prepared for a network that bcd trained.
        which: `models:/bcd-idc@champion`, `models:/bcd-idc/3`, an alias, a version, `released`, or a Keras file.
        reading: How a file is read that does not say it.

    Raises:
        BcdError: There is no such model, or the file holds no network that tells IDC from none in a patch.
    """
    path = Path(which)
    if path.suffix.lower() in SUFFIXES or path.is_file() or (path / "saved_model.pb").is_file():
        return _open_file(settings, path, reading)
    bundle = load_released() if which == RELEASED else load_bundle(settings, _version_or_alias(which))
    return EvaluatedModel(bundle.name, bundle.score, bundle, "")


def _version_or_alias(which: str) -> str:
    if not which.startswith(_SCHEME):
        return which
    model, separator, rest = which.removeprefix(_SCHEME).partition("@")
    if not separator:
        model, _, rest = model.partition("/")
    if model != MODEL or not rest:
        raise BcdError(
            f"{which} is not a bundle of bcd.", f"Name it as {_SCHEME}{MODEL}@champion or {_SCHEME}{MODEL}/3."
        )
    return rest


def _open_file(settings: Settings, path: Path, reading: FileReading) -> EvaluatedModel:
    network = load_network(path)
    unknown = "What it was trained on is not known, so that nobody can rule out that it saw these patients."
    if network.name == EXPORTED and set(getattr(network, "output_names", ())) == set(OUTPUTS):
        return EvaluatedModel(
            path.name, lambda pixels: _ask_exported(network, pixels), None, f"{path.name}: {unknown}"
        )
    understood = understand_network(network, path.name, reading.pixels)
    prepared = is_bcd_network(network) or reading.prepared
    options = settings.options("preparation", PrepareOptions) if prepared else PrepareOptions(sharpen=False)
    note = " ".join(
        [
            f"{path.name} is a network without a policy: its probabilities are not calibrated.",
            *understood.notes,
            "Its patches are prepared as bcd.toml says." if prepared else "Its patches are given as they were cut.",
            unknown,
        ]
    )
    return EvaluatedModel(path.name, lambda pixels: _ask_network(understood.network, options, pixels), None, note)


def _ask_network(network: Model, options: PrepareOptions, pixels: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    from bcd.evaluation.policy.calibration import sigmoid
    from bcd.preprocessing.prepare import prepare
    from bcd.training.predict import predict_logits

    logits = predict_logits(network, prepare(pixels, options))
    return pd.DataFrame({"logit": logits, "probability": sigmoid(logits)})


def _ask_exported(network: Model, pixels: np.ndarray) -> pd.DataFrame:
    """Asks a network that `bcd model export` wrote: preparation and calibrator are inside."""
    import pandas as pd

    answers = []
    with track_progress("Predicting patches", total=len(pixels)) as advance:
        for start in range(0, len(pixels), _BATCH):
            batch = pixels[start : start + _BATCH]
            answers.append(network.predict_on_batch(batch))
            advance(len(batch))
    return pd.DataFrame({name: np.concatenate([each[name][:, 0] for each in answers]) for name in OUTPUTS})
