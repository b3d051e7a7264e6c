"""The one registered model, and how its versions are found: by number, by alias, or by what they were made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.errors import NotFoundError

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "bcd-idc"
"""The registered model."""

ALIASES = ("champion", "previous", "challenger", "anchor")
"""What a version may be called besides its number."""

KEY_TAG = "mlflow.bcd.key"
"""What a run or a model version was made for; the same key finds it again.

The pages of MLflow do not show a tag whose name begins with `mlflow.`; so are named the tags that only bcd reads.
"""


def find_mlflow_version(client: MlflowClient, which: str) -> str | None:
    """Returns the version that an alias, `3` or `bcd-idc/3` names; None if there is none."""
    from mlflow.exceptions import MlflowException

    name = which.removeprefix(f"{MODEL}/")
    try:
        if name.isdigit():
            found = client.get_model_version(MODEL, name)
        else:
            found = client.get_model_version_by_alias(MODEL, name)
    except MlflowException as error:
        # No such model and no such alias have codes of their own.
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return str(found.version)


def require_mlflow_version(client: MlflowClient, which: str) -> str:
    """Returns the version that an alias, `3` or `bcd-idc/3` names.

    Raises:
        BcdError: There is no such version.
    """
    version = find_mlflow_version(client, which)
    if version is None:
        raise NotFoundError(f"There is no {which} of {MODEL}.", "`bcd model list` lists the versions.")
    return version


def find_tracked_version(client: MlflowClient, key: str) -> str | None:
    """Returns the version that was registered with `key`."""
    found = client.search_model_versions(f"name = '{MODEL}' and tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return str(found[0].version) if found else None
