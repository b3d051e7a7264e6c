"""The bundle as MLflow runs it: this file is stored with every bundle as its code, so nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel

from bcd.bundle.scorer import load_scorer


class BundleModel(PythonModel):  # type: ignore[misc]
    """Scores raw patches, uint8 (n, 50, 50, 3), with what is stored beside this file."""

    def load_context(self, context: Any) -> None:
        """Loads the bundle from its folder."""
        self.scorer = load_scorer(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
        """Returns logit, probability, label, and whether each patch is confident at each level."""
        return self.scorer.score(np.asarray(model_input))


mlflow.models.set_model(BundleModel())
