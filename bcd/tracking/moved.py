"""A home that was moved or copied: MLflow notes where artifacts lie as absolute addresses, and these follow the home.

The address of the experiment, or of a version of the model, says where the home was. Where that is not where it is
now, every address under the old place is rewritten in one transaction, before MLflow is asked anything; otherwise it
costs one row.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.progress import say_progress

if TYPE_CHECKING:
    from bcd.settings import Settings

_ADDRESSES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""The columns of MLflow's tables that hold addresses of artifacts."""

_PLACE = "/mlflow/artifacts"
_INSIDE = f"{_PLACE}/models/"


def mlflow_artifacts_address(settings: Settings) -> str:
    """Returns where this home keeps MLflow's artifacts, as a URI: MLflow decodes `%20` in a path without a scheme."""
    return (settings.mlflow / "artifacts").as_uri()


def rewrite_mlflow_addresses(settings: Settings, url: sa.URL, experiment: str) -> None:
    """Rewrites the addresses in MLflow's database where the home is no longer where they say.

    Args:
        settings: Where the home is.
        url: MLflow's database, SQLite or PostgreSQL.
        experiment: Name of the experiment whose artifacts lie in the home.
    """
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    here = mlflow_artifacts_address(settings)
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table("experiments"):
            return
        old = _find_place(connection, experiment)
        if old is None or old == here or not old.startswith(("/", "file:")):
            return
        for name, column in _ADDRESSES.items():
            address = sa.column(column, sa.String)
            begins = sa.func.substr(address, 1, len(old) + 1)
            rewritten = sa.literal(here).concat(sa.func.substr(address, len(old) + 1))
            rows = sa.update(sa.table(name, address)).where(sa.or_(address == old, begins == f"{old}/"))
            connection.execute(rows.values({column: rewritten}))
    say_progress(
        f"The home was at another place before: MLflow's artifacts are now looked for in {settings.mlflow}/artifacts."
    )


def _find_place(connection: sa.Connection, experiment: str) -> str | None:
    """Returns where the artifacts were when the database was last used; None where it does not know of any."""
    experiments = sa.table("experiments", sa.column("name"), sa.column("artifact_location"))
    query = sa.select(experiments.c.artifact_location).where(experiments.c.name == experiment)
    if (place := connection.scalar(query)) is not None:
        return str(place)
    # The experiment was deleted for good, and versions of the model were not.
    versions = sa.table("model_versions", sa.column("storage_location"))
    query = sa.select(versions.c.storage_location).where(versions.c.storage_location.contains(_INSIDE))
    found = connection.scalar(query.limit(1))
    return None if found is None else str(found).rpartition(_INSIDE)[0] + _PLACE
