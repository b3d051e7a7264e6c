"""MLflow's server on a home's own store, as one process behind the home's password.

`mlflow server` would keep a second process of the same size, and its own users beside Prefect's password.

Examples:
        python -m bcd.cli.page_server mlflow_page 5000
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_PROXIED = "mlflow-artifacts:/"  # artifacts of new experiments go through the server


def make_mlflow_page() -> ASGIApp:
    """Makes MLflow's application on the store of this BCD_HOME."""
    from bcd.cli.guard import guard_app
    from bcd.config import load_configuration
    from bcd.runtime import read_password
    from bcd.tracking.moved import mlflow_artifacts_address

    settings = load_configuration()
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    store = f"sqlite:///{settings.mlflow / 'mlflow.db'}"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: _PROXIED,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: mlflow_artifacts_address(settings),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    initialize_backend_stores(store, store, _PROXIED)
    from mlflow.server.fastapi_app import app

    return guard_app(app, read_password(settings))
