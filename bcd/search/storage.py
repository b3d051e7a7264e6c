"""Where studies live: one Optuna storage, SQLite under BCD_HOME or PostgreSQL, that any number of workers share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError, NotFoundError
from bcd.files import lock_file
from bcd.progress import say_progress
from bcd.search.notes import note_of_study, read_note_of_study, read_notes_of_studies
from bcd.search.options import SearchOptions
from bcd.search.records import TrialKind, TrialRecord, read_trials
from bcd.search.space import fingerprint_space, grid_points, reference_points
from bcd.settings import Settings
from bcd.store.schemas import require_schema
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    import sqlalchemy as sa
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage, RDBStorage

    from bcd.preprocessing.options import PrepareOptions
    from bcd.snapshots.freeze import Snapshot

_INPUTS = "inputs"  # what a study searches on, as one of its notes
_RETRIES = 5  # of a trial whose worker is lost, so that one that kills its workers ends some time


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Lets Optuna neither log nor warn of what it calls experimental: heartbeats."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        yield


def describe_study(
    snapshot: Snapshot, preparation: PrepareOptions, options: SearchOptions, training: TrainOptions
) -> dict[str, Any]:
    """Returns what makes a study the study that it is; how far it goes is no part of it."""
    return {
        "snapshot": snapshot.id,
        "space": fingerprint_space(),
        "preparation": preparation.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "search": options.identity(),
    }


def study_key(inputs: dict[str, Any], options: SearchOptions) -> str:
    """Returns the name that was asked for, or the snapshot and what is equal exactly when `describe_study` is."""
    text = json.dumps(inputs, sort_keys=True)
    return options.study or f"{inputs['snapshot'][:8]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def find_study_name(settings: Settings, inputs: dict[str, Any], options: SearchOptions) -> str:
    """Returns the name of the study of these inputs; where there is none yet, with the date of now before its key.

    Raises:
        BcdError: The storage cannot be reached.
    """
    import optuna

    key = study_key(inputs, options)
    if key == options.study:
        return key
    names = optuna.get_all_study_names(storage=_open_storage(settings, options.heartbeat_seconds))
    known = sorted(name for name in names if name.endswith(f"-{key}"))
    return known[0] if known else f"{datetime.now(UTC):%Y-%m-%d}-{key}"


def open_study(settings: Settings, name: str, options: SearchOptions, inputs: dict[str, Any] | None = None) -> Study:
    """Opens an optuna.Study, made with references and what is tried first in its queue where it is new.

    Args:
        settings: Where the storage is.
        name: The study's name.
        options: Its pruner, objectives and heartbeats.
        inputs: What it must be of; None: it is of another study, such as its refits, and begins empty.

    Raises:
        BcdError: The study of that name searches on something else, or the storage cannot be reached.
    """
    import optuna

    two = options.objective == "score-and-cost" and inputs is not None
    with lock_file(settings.work / name / "lock"):  # two processes that both make it new would both fill the queue
        study = optuna.create_study(
            storage=_open_storage(settings, options.heartbeat_seconds),
            study_name=name,
            directions=["maximize", "minimize"] if two else ["maximize"],
            pruner=_make_pruner(options),
            load_if_exists=True,
        )
        study.set_metric_names(["val score", "multiply-adds"] if two else ["val score"])
        if inputs is not None:
            _claim_inputs(study, inputs, options)
    return study


def make_storage(settings: Settings) -> str:
    """Makes the storage where there is none, so that a page may be opened on it, and returns its SQLAlchemy URL."""
    with quiet_optuna():
        storage = _open_storage(settings, SearchOptions().heartbeat_seconds)
    return str(storage.url)


def find_study(settings: Settings, name: str, options: SearchOptions) -> Study:
    """Opens a study that exists, whatever it searches on.

    Raises:
        NotFoundError: There is none of that name, or none at all.
    """
    import optuna

    storage = _open_storage(settings, options.heartbeat_seconds, is_new=False)
    try:
        return optuna.load_study(storage=storage, study_name=name, pruner=_make_pruner(options))
    except KeyError as error:
        raise NotFoundError(f"There is no study {name}.", "Name one that Optuna's page shows.") from error


def read_study_inputs(settings: Settings, name: str) -> dict[str, Any]:
    """Returns what a study is of, as `describe_study` said where it was begun.

    Raises:
        NotFoundError: There is no study of that name, or it holds the refits of another.
    """
    inputs: dict[str, Any] | None = read_note_of_study(find_study(settings, name, SearchOptions()), _INPUTS)
    if inputs is None:
        raise NotFoundError(f"{name} holds refits of another study.", "Name that study.")
    return inputs


def _claim_inputs(study: Study, inputs: dict[str, Any], options: SearchOptions) -> None:
    """Notes what a new study is of and fills its queue, or checks that an old one is of the same."""
    kept = read_note_of_study(study, _INPUTS)
    if kept is None:
        _fill_queue(study, inputs, options)
        study.set_user_attr("snapshot", inputs["snapshot"][:12])
        note_of_study(study, _INPUTS, inputs)
        return
    other = sorted(key for key in inputs.keys() | kept.keys() if inputs.get(key) != kept.get(key))
    if other:
        details = "; ".join(_tell_difference(key, kept.get(key), inputs.get(key)) for key in other)
        raise BcdError(
            f"The study {study.study_name} is of another {' and another '.join(other)}: {details}.",
            "Name another study, or give the options and the snapshot that it was begun with.",
        )


def _fill_queue(study: Study, inputs: dict[str, Any], options: SearchOptions) -> None:
    """Puts references, the grid and what earlier studies found best into the queue, but for what is in it."""
    from bcd.preprocessing.options import PrepareOptions

    preparation = PrepareOptions.model_validate(inputs["preparation"])
    known = {trial.user_attrs.get("label") for trial in study.get_trials(deepcopy=False)}
    first: list[tuple[dict[str, Any], TrialKind, str]] = [
        (point, "reference", name)
        for name, point in reference_points(preparation).items()
        if options.dissertation or name != "dissertation"
    ]
    if options.sampler == "grid":
        points = grid_points(options.grid, preparation)
        first += [(point, "stated", f"grid {number}") for number, point in enumerate(points, 1)]
        say_progress(f"The grid has {len(points)} different points.")
    elif options.proposes:
        first += [(trial.params, "proposed", label) for label, trial in _remember_last_study(study, inputs, options)]
    for point, kind, label in first:
        if label not in known:
            study.enqueue_trial(point, user_attrs={"kind": kind, "label": label})


def _remember_last_study(
    study: Study, inputs: dict[str, Any], options: SearchOptions
) -> list[tuple[str, TrialRecord]]:
    """Returns the best proposals of the last study that was of the same space and of another snapshot."""
    import optuna

    most = min(options.remember, options.trials // 2) if options.trials else options.remember
    storage = study._storage
    for name, told in read_notes_of_studies(storage, _INPUTS).items() if most else ():
        if told["space"] != inputs["space"] or told["snapshot"] == inputs["snapshot"]:
            continue
        found = read_trials(optuna.load_study(study_name=name, storage=storage))
        best = [trial for trial in found if trial.state == "complete" and trial.allowed and trial.kind != "reference"]
        best = sorted((trial for trial in best if trial.params), key=lambda trial: -(trial.value or 0.0))[:most]
        if best:
            say_progress(f"Tried first: the best of {name}, {', '.join(f'trial {one.number}' for one in best)}.")
            return [(f"trial {trial.number} of {name}", trial) for trial in best]
    return []


def _tell_difference(key: str, kept: Any, asked: Any) -> str:
    if not (isinstance(kept, dict) and isinstance(asked, dict)):
        return f"{key} {str(kept)[:12]}, not {str(asked)[:12]}"
    fields = sorted(name for name in kept.keys() | asked.keys() if kept.get(name) != asked.get(name))
    return ", ".join(f"{key}.{name} {kept.get(name)}, not {asked.get(name)}" for name in fields)


def _make_pruner(options: SearchOptions) -> BasePruner:
    """Halving (Li 2020) by epoch: a trial goes beyond epoch 3, 9, … if it is in the upper third of those before it.

    No earlier: what an epoch or two say of a trial costs more than it spares, and brackets that begin at several
    epochs (Hyperband) gain less than this one does (docs/reference/performance.md, Search).
    """
    import optuna

    if not options.pruning or options.epochs <= 3 or options.objective == "score-and-cost":
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)


def _open_storage(settings: Settings, heartbeat: int, *, is_new: bool = True) -> BaseStorage:
    import optuna
    import sqlalchemy as sa

    try:
        url = sa.make_url(settings.study_storage)
    except sa.exc.ArgumentError as error:
        raise BcdError("study_url is no address of a database.", _FIX) from error
    local = url.get_backend_name() == "sqlite"
    if not local:
        url = url.set(drivername="postgresql+psycopg")
    elif url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    require_schema("optuna", url.render_as_string(hide_password=False))
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES, inherit_intermediate_values=True)

    def open_database() -> RDBStorage:
        return optuna.storages.RDBStorage(
            url.render_as_string(hide_password=False),
            engine_kwargs={"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True},
            heartbeat_interval=heartbeat,
            grace_period=3 * heartbeat,
            heartbeat_stale_trial_callback=retry,
            skip_compatibility_check=not is_new,
            skip_table_creation=not is_new,
        )

    # Two processes that both make the tables would both fail.
    lock = lock_file(settings.work / "storage" / "lock") if is_new else nullcontext()
    shown = url.render_as_string(hide_password=True)
    try:
        if not (is_new or _has_studies(url)):
            raise NotFoundError(
                f"No study was begun in {shown} so far.",
                "Begin one by `bcd search` or `bcd retrain`, or give this machine the study_url of the one that did.",
            )
        with lock:
            storage = _open_though_others_make_it(open_database)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise BcdError(f"The storage of studies {shown} cannot be opened: {error}.", _FIX) from error
    if local:
        sa.event.listen(storage.engine, "connect", _prepare_sqlite)
        storage.engine.dispose()  # the connections that were made before
    return storage


def _has_studies(url: sa.URL) -> bool:
    import sqlalchemy as sa

    return sa.inspect(sa.create_engine(url, poolclass=sa.NullPool)).has_table("studies")


def _open_though_others_make_it(open_database: Callable[[], RDBStorage]) -> RDBStorage:
    """Opens a database again where another machine makes its tables at the same moment."""
    import sqlalchemy as sa

    for _ in range(4):
        try:
            return open_database()
        except sa.exc.DatabaseError as error:
            if "already exists" not in str(error):
                raise
            time.sleep(0.5)
    return open_database()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # A trial writes a hundred times; without these each waits for the disk, and readers for writers.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


_FIX = "BCD_STUDY_URL is empty (SQLite in BCD_HOME) or postgresql://USER:PASSWORD@HOST/DATABASE with bcd[postgres]."
