"""The versions in the registry as rows, read without importing MLflow where its store is a database.

Importing MLflow takes seconds, and the commands that people type all day need a few rows. Where the store lies behind
a server of somebody else's, MLflow's client asks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bcd.errors import UnavailableError
from bcd.store.schemas import require_schema
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import mlflow_database_url, open_mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.settings import Settings


@dataclass(frozen=True)
class VersionRow:
    """One version of the registered model, as the registry knows it.

    Attributes:
        version: Its number.
        registered_at: When it was registered, in UTC.
        source: The logged model that it is made of, as `models:/ID`.
        run_id: The run that it comes from; empty: none.
        description: What was written about it.
        tags: By name.
        aliases: Those that it holds, in order.
        metrics: Of its logged model; none where that was deleted.
        files: Address of the folder that its files lie in; empty: behind a server.
    """

    version: str
    registered_at: datetime
    source: str
    run_id: str
    description: str
    tags: dict[str, str]
    aliases: list[str]
    metrics: dict[str, float]
    files: str

    @property
    def name(self) -> str:
        """How it is called everywhere, such as `bcd-idc/3`."""
        return f"{MODEL}/{self.version}"


def read_registered_versions(settings: Settings) -> list[VersionRow]:
    """Reads all versions, oldest first; no store yet: none.

    Raises:
        BcdError: The store is of another version of MLflow.
        UnavailableError: It cannot be read.
    """
    url = mlflow_database_url(settings)
    return _ask_server(settings) if url is None else _read_database(url)


def _read_database(url: sa.URL) -> list[VersionRow]:
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return []
    require_schema("mlflow", url.render_as_string(hide_password=False))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("model_versions"):
                return []
            return _read_tables(connection)
    except sa.exc.SQLAlchemyError as error:
        raise UnavailableError(
            f"MLflow's database {url.render_as_string(hide_password=True)} cannot be read:"
            f" {getattr(error, 'orig', None) or error}.",
            "Bring it back, or restore it from a backup, and run the same command again.",
        ) from error


def _read_tables(connection: sa.Connection) -> list[VersionRow]:
    def select(table: str, *columns: str, model: str = "name") -> Iterable[sa.Row[Any]]:
        rows = sa.table(table, *(sa.column(name) for name in {*columns, model}))
        return connection.execute(sa.select(rows).where(rows.c[model] == MODEL))

    tags: dict[int, dict[str, str]] = {}
    for row in select("model_version_tags", "version", "key", "value"):
        tags.setdefault(row.version, {})[row.key] = row.value
    aliases: dict[int, list[str]] = {}
    for row in select("registered_model_aliases", "version", "alias"):
        aliases.setdefault(row.version, []).append(row.alias)
    columns = ("version", "creation_time", "source", "run_id", "description", "current_stage", "storage_location")
    versions = [row for row in select("model_versions", *columns) if row.current_stage != "Deleted_Internal"]
    metrics = _read_metrics(connection, [_model_id(row.source) for row in versions])
    return [
        VersionRow(
            version=str(row.version),
            registered_at=datetime.fromtimestamp(row.creation_time / 1000, UTC),
            source=row.source or "",
            run_id=row.run_id or "",
            description=row.description or "",
            tags=tags.get(row.version, {}),
            aliases=sorted(aliases.get(row.version, [])),
            metrics=metrics.get(_model_id(row.source), {}),
            files=row.storage_location or "",
        )
        for row in sorted(versions, key=lambda row: row.version)
    ]


def _read_metrics(connection: sa.Connection, models: list[str]) -> dict[str, dict[str, float]]:
    names = ("model_id", "metric_name", "metric_value", "metric_step", "metric_timestamp_ms")
    table = sa.table("logged_model_metrics", *(sa.column(name) for name in names))
    query = sa.select(table).where(table.c.model_id.in_(models))
    found: dict[str, dict[str, float]] = {}
    # The last one logged of each name counts.
    for row in connection.execute(query.order_by(table.c.metric_step, table.c.metric_timestamp_ms)):
        found.setdefault(row.model_id, {})[row.metric_name] = float(row.metric_value)
    return found


def _ask_server(settings: Settings) -> list[VersionRow]:
    client = open_mlflow_client(settings)
    models = client.search_registered_models(f"name = '{MODEL}'")
    aliases = models[0].aliases if models else {}
    versions = client.search_model_versions(f"name = '{MODEL}'", max_results=1000)
    return [
        VersionRow(
            version=str(found.version),
            registered_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
            source=found.source or "",
            run_id=found.run_id or "",
            description=found.description or "",
            tags=dict(found.tags),
            aliases=sorted(alias for alias, version in aliases.items() if str(version) == str(found.version)),
            metrics=_ask_metrics(client, found.source),
            files="",
        )
        for found in sorted(versions, key=lambda found: int(found.version))
    ]


def _ask_metrics(client: MlflowClient, source: str | None) -> dict[str, float]:
    from mlflow.exceptions import MlflowException

    try:
        logged = client.get_logged_model(_model_id(source))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # deleted by hand
            return {}
        raise
    return {metric.key: float(metric.value) for metric in logged.metrics or []}


def _model_id(source: str | None) -> str:
    return (source or "").removeprefix("models:/")
