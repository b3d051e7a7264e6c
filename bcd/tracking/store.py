"""Where MLflow lives, and the runs that bcd keeps there.

The tracking server and the model registry are one store: the server that `mlflow_url` or
MLFLOW_TRACKING_URI names, else bcd's own SQLite file under BCD_HOME. Everything goes through `MlflowClient`,
so that nothing depends on which run happens to be active in a thread.

Examples:
        with start_run(settings, key="train/4f1c", name="train compact", kind="train") as run:
            run.log_options("training", options)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.files import lock_file
from bcd.runtime import read_running_servers
from bcd.settings import Settings
from bcd.store.schemas import require_schema, sync_url
from bcd.tracking.lookup import KEY_TAG
from bcd.tracking.moved import mlflow_artifacts_address, rewrite_mlflow_addresses
from bcd.tracking.owner import PROCESS_TAG, name_run_owner, run_owner_has_ended
from bcd.tracking.run import Run
from bcd.tracking.view import keep_views
from bcd.versions import git_commit

if TYPE_CHECKING:
    import mlflow.entities
    from filelock import BaseFileLock
    from mlflow import MlflowClient

EXPERIMENT = "bcd"
"""The one experiment that holds all runs."""

Kind = Literal["retrain", "search", "trial", "train", "network", "machine", "evaluate", "gate", "adopt", "monitor"]

_HTTP = ("http://", "https://")
_ready: dict[str, str] = {}  # stores that this process has found or made ready, with the experiment's id


def mlflow_database_url(settings: Settings) -> sa.URL | None:
    """Returns the database that holds the store, even while a server runs on it; None: only a server knows it."""
    uri = settings.mlflow_url or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or (not settings.mlflow_url and uri == read_running_servers(settings).get("urls", {}).get("mlflow")):
        return _own_database(settings)
    if uri.startswith(_HTTP):
        return None
    return sync_url(uri)


def follow_moved_mlflow(settings: Settings) -> None:
    """Makes the store's addresses say where the home is now, without importing MLflow."""
    url = mlflow_database_url(settings)
    if url is not None and settings.mlflow.exists():
        with _lock_tables(settings):
            rewrite_mlflow_addresses(settings, url, EXPERIMENT)


def own_mlflow_store(settings: Settings) -> str:
    """Returns the address of bcd's own store, which several processes may ask for at once.

    The experiment in it keeps its artifacts at an absolute local path, so it can be used directly and through
    a server started on the same database.

    Raises:
        BcdError: Another version of MLflow made its database.
    """
    uri = str(_own_database(settings))
    if uri not in _ready or not (settings.mlflow / "mlflow.db").exists():
        _make_ready(settings, uri)
    return uri


def connect_mlflow(settings: Settings) -> None:
    """Points MLflow at the store and makes sure that the experiment exists.

    Raises:
        BcdError: The MLflow server does not answer, or another version of MLflow made the database.
    """
    import mlflow

    environment = os.environ.get("MLFLOW_TRACKING_URI")
    uri = settings.mlflow_url or environment
    if not uri or uri == str(_own_database(settings)):
        uri = own_mlflow_store(settings)
    elif uri not in _ready:
        _require_answer(uri)
        _make_ready(settings, uri)
    if mlflow.get_tracking_uri() != uri:
        mlflow.set_tracking_uri(uri)
    # MLflow writes its own variable, which would outweigh the settings of the next call.
    if environment is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = environment


def open_mlflow_client(settings: Settings) -> MlflowClient:
    """Connects, and returns the client of the store."""
    import mlflow

    connect_mlflow(settings)
    return _make_mlflow_client(mlflow.get_tracking_uri())


def experiment_id(client: MlflowClient) -> str:
    """Returns the id of bcd's experiment in a connected store."""
    return _ready[client.tracking_uri]


@contextmanager
def start_run(
    settings: Settings,
    *,
    key: str,
    name: str,
    kind: Kind,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Opens the run of `key`, a new one or the one that an earlier call began, and closes it with the block.

    A run is FINISHED when the block ends, FAILED with the message in tag `bcd.error` when it raises, and
    KILLED when it is interrupted.

    Args:
        settings: Where the store is.
        key: What the run is for; the same key continues the same run.
        name: What the table in the MLflow UI shows.
        kind: The stage, as tag `bcd.kind`.
        parent: Run id of the run that this one is nested under.
        tags: Further tags.

    Yields:
        The run, with the methods that log to it.
    """
    client = open_mlflow_client(settings)
    run = _find_or_create(settings, client, key=key, name=name, kind=kind, parent=parent, tags=tags or {})
    try:
        yield run
    except BaseException as error:
        client.set_tag(run.id, "bcd.error", f"{type(error).__name__}: {error}"[:5000])
        client.set_terminated(run.id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    client.set_terminated(run.id, "FINISHED")


def find_run(client: MlflowClient, key: str) -> mlflow.entities.Run | None:
    """Returns the run that `key` belongs to; None: there is none, or it was deleted."""
    found = client.search_runs([experiment_id(client)], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return found[0] if found else None


def end_killed_mlflow_runs(settings: Settings) -> int:
    """Marks as KILLED what a process of this machine left RUNNING when it ended, and returns how many runs that were.

    Raises:
        BcdError: The MLflow server does not answer.
    """
    client = open_mlflow_client(settings)
    running = client.search_runs([experiment_id(client)], "attributes.status = 'RUNNING'")
    killed = [run for run in running if run_owner_has_ended(run.data.tags.get(PROCESS_TAG, ""))]
    for run in killed:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(killed)


def _find_or_create(
    settings: Settings,
    client: MlflowClient,
    *,
    key: str,
    name: str,
    kind: Kind,
    parent: str | None,
    tags: Mapping[str, str],
) -> Run:
    if "'" in key:
        raise BcdError(f"The key {key!r} of a run holds an apostrophe.", "Leave it out.")
    labels = {KEY_TAG: key, "bcd.kind": kind, "mlflow.source.name": "bcd", PROCESS_TAG: name_run_owner(), **tags}
    if parent is not None:
        labels["mlflow.parentRunId"] = parent
    if commit := git_commit():
        labels["mlflow.source.git.commit"] = commit
    with lock_mlflow(settings):  # two processes with the same key must not both find nothing
        found = find_run(client, key)
        if found is None:
            created = client.create_run(experiment_id(client), run_name=name, tags=labels)
            return Run(client, created.info.run_id, created)
    run = Run(client, found.info.run_id, found)
    client.update_run(run.id, status="RUNNING", name=name)
    run.set_tags(labels)
    if "bcd.error" in found.data.tags:
        client.delete_tag(run.id, "bcd.error")
    return run


def _own_database(settings: Settings) -> sa.URL:
    return sa.URL.create("sqlite", database=str(settings.mlflow / "mlflow.db"))


def _make_ready(settings: Settings, uri: str) -> None:
    """Makes tables, the experiment, and addresses that say where the home is now."""
    is_served = uri.startswith(_HTTP)
    # MLflow's first migration is not safe against a second process at the same moment.
    with lock_mlflow(settings) if is_served else _lock_tables(settings):
        if not is_served:
            require_schema("mlflow", uri)
            rewrite_mlflow_addresses(settings, sync_url(uri), EXPERIMENT)
        _ready[uri] = _ensure_experiment(settings, uri)


def _ensure_experiment(settings: Settings, uri: str) -> str:
    client = _make_mlflow_client(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        # A server knows where its artifacts go; a database alone would put them into the current folder.
        location = None if uri.startswith(_HTTP) else mlflow_artifacts_address(settings)
        found = str(client.create_experiment(EXPERIMENT, artifact_location=location))
    else:
        found = str(experiment.experiment_id)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(found)
    keep_views(client, found)
    client.search_registered_models(max_results=1)  # opens the registry's tables too
    return found


def _require_answer(uri: str) -> None:
    """Asks the server once: MLflow's own client would retry for minutes."""
    import httpx

    if not uri.startswith(_HTTP):
        return
    try:
        httpx.get(f"{uri.rstrip('/')}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"The MLflow server at {uri} does not answer ({error}).",
            "Start it (`bcd up`), or correct mlflow_url in bcd.toml or MLFLOW_TRACKING_URI.",
        ) from error


def _make_mlflow_client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    # It would print by itself: migrations, downloads of local files, the address of every run that ends.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def lock_mlflow(settings: Settings) -> BaseFileLock:
    """Returns the lock of MLflow's store between the processes of this machine."""
    return lock_file(settings.mlflow / ".lock")


def _lock_tables(settings: Settings) -> BaseFileLock:
    """Returns the lock of the tables of bcd's own store.

    Whoever asks a server that is away holds the store's lock for minutes: with it alone, the server, which makes sure
    of its tables first, could not be started meanwhile.
    """
    return lock_file(settings.mlflow / ".tables.lock")
