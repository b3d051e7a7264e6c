"""The bundle: what is registered and deployed, as one MLflow model of code and the folder of a bundle.

The code is carried in it: a notebook that has the packages of its requirements, but no bcd, loads and scores.

Examples:
        bundle = load_bundle(settings)  # the champion
        bundle.score(pixels)  # logit, probability, label, confident_80, …
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from bcd.bundle.aliases import explain_aliases
from bcd.bundle.card.card import HTML, MARKDOWN, Card, describe_record
from bcd.bundle.carried_code import copy_code_into_bundle
from bcd.bundle.loaded import LoadedBundle
from bcd.bundle.record import BundleRecord, read_record
from bcd.bundle.rows import VersionRow, read_registered_versions
from bcd.bundle.scorer import CARD, RECORD, Scorer, confident_column, load_scorer
from bcd.bundle.seen import Seen, read_seen_by_bundle
from bcd.bundle.write import write_bundle
from bcd.errors import BcdError, DamagedError, NotFoundError
from bcd.evaluation.evaluation import headline
from bcd.patches import PATCH_PIXELS
from bcd.settings import Settings
from bcd.store.store import open_store
from bcd.tracking.lookup import KEY_TAG, MODEL, find_mlflow_version, find_tracked_version, require_mlflow_version
from bcd.tracking.run import Run
from bcd.tracking.store import lock_mlflow, open_mlflow_client

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from bcd.bundle.card.card import Card

_BUNDLE = "bundle"
"""What the bundle's folder is called among the files of its MLflow model."""

_ABOUT = (
    "Finds invasive ductal carcinoma in 50x50 RGB patches of breast tissue at about 4 µm/px. "
    "Research use only: not a medical device, not for diagnosis. "
    "Alias `champion` scores patients, `previous` is what it replaced, `challenger` was held by the gate, `anchor` "
    "is the best champion that was shown to be better."
)


@dataclass(frozen=True)
class Bundle(LoadedBundle):
    """A registered bundle, ready to score.

    Attributes:
        version: Its version in the registry.
        scorer: Its preparation, engine and policy.
        seen: Who it was trained on, of one that came from elsewhere; None: its snapshot says it.
    """

    version: str
    scorer: Scorer
    seen: Seen | None = None

    @property
    def name(self) -> str:
        """How it is called everywhere, such as `bcd-idc/3`."""
        return f"{MODEL}/{self.version}"

    def score(self, pixels: np.ndarray, *, spread: bool = False) -> pd.DataFrame:
        """Scores raw patches.

        Args:
            pixels: RGB patches, uint8, shape (n, 50, 50, 3).
            spread: Whether a column says how far networks and turns disagree.

        Returns:
            A row a patch, in order: logit, probability (calibrated), label, and confident_80, … by level.

        Raises:
            BcdError: The array is not of that type and shape.
        """
        return self.scorer.score(pixels, spread=spread)


@dataclass(frozen=True)
class RecordedBundle:
    """What a registered bundle says of itself.

    Attributes:
        name: How it is called everywhere, such as `bcd-idc/3`.
        record: What it is made of and where it comes from.
        seen: Who it was trained on, of one that came from elsewhere; None: its snapshot says it.
    """

    name: str
    record: BundleRecord
    seen: Seen | None


def register_bundle(
    settings: Settings,
    *,
    key: str,
    run_id: str,
    networks: Sequence[Path],
    graph: Path,
    record: BundleRecord,
    example: np.ndarray,
    card: Card | None = None,
    seen: Seen | None = None,
) -> Bundle:
    """Registers a bundle as the next version of `bcd-idc`; the same key again returns the version it has.

    Args:
        settings: Where the registry is.
        key: What the bundle is, such as a hash of its snapshot and options.
        run_id: The run that it comes from.
        networks: The Keras files, as many as the record says.
        graph: The folder of their graph.
        record: Everything else.
        example: A few raw patches, uint8 (n, 50, 50, 3), kept as the model's example of its input: of nobody, since
            the registry outlives a patient's withdrawal.
        card: Its model card, kept with it.
        seen: Who it was trained on, of one that came from elsewhere.
    """
    client = open_mlflow_client(settings)
    with lock_mlflow(settings):
        version = find_tracked_version(client, key)
        if version is None:
            _ensure_model(client)

            def write(folder: Path) -> None:
                write_bundle(folder, networks=networks, graph=graph, record=record, card=card, seen=seen)

            model_id = _log_model(client, key, run_id, record=record, example=example, write=write)
            version = client.create_model_version(
                MODEL,
                f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={
                    KEY_TAG: key,
                    "bcd.snapshot": record.snapshot,
                    "bcd.protocol": record.protocol,
                    "bcd.origin": record.origin,
                },
                description=describe_record(record) if card is None else card.short,
            ).version
    return load_bundle(settings, str(version))


def load_bundle(settings: Settings, which: str = "champion") -> Bundle:
    """Loads a bundle from the registry.

    Args:
        settings: Where the registry is.
        which: An alias (`champion`, `previous`, `challenger`) or a version (`3` or `bcd-idc/3`).

    Raises:
        BcdError: There is no such bundle, or its files cannot be loaded.
    """
    return load_registered_bundle(settings, require_registered_version(settings, which))


_loaded: dict[str, Bundle] = {}  # by the logged model, which no other version shares; the last one alone


def load_bundle_once(settings: Settings, which: str = "champion") -> Bundle:
    """As `load_bundle`, but the version that this process loaded last is not loaded again."""
    row = require_registered_version(settings, which)
    if row.source not in _loaded:
        bundle = load_registered_bundle(settings, row)
        _loaded.clear()
        _loaded[row.source] = bundle
    return _loaded[row.source]


def load_registered_bundle(settings: Settings, row: VersionRow) -> Bundle:
    """Loads the bundle of a version, without importing MLflow where its files lie on this machine.

    Raises:
        BcdError: Its files are gone, cut short or changed, or of another version of bcd.
    """
    try:
        with open_bundle_folder(settings, row) as folder:
            return Bundle(row.version, load_scorer(folder), read_seen_by_bundle(folder))
    except (OSError, ValueError) as error:
        raise _not_loadable(row.version, error) from error


def read_champion_bundle(settings: Settings) -> tuple[str, BundleRecord] | None:
    """Returns name and record of the champion, whose networks are not loaded; None: there is none.

    Raises:
        BcdError: Its files are gone, or of another version of bcd; or the registry does not answer.
    """
    row = next((row for row in read_registered_versions(settings) if "champion" in row.aliases), None)
    if row is None:
        return None
    try:
        with open_bundle_folder(settings, row) as folder:
            return row.name, read_record(folder / RECORD)
    except OSError as error:
        raise _not_loadable(row.version, error) from error


def read_bundle(settings: Settings, which: str = "champion") -> RecordedBundle:
    """Reads what a version says of itself, without loading its networks; `which` as in `load_bundle`.

    Raises:
        BcdError: There is no such version, or its files are gone, or of another version of bcd.
    """
    row = require_registered_version(settings, which)
    try:
        with open_bundle_folder(settings, row) as folder:
            return RecordedBundle(row.name, read_record(folder / RECORD), read_seen_by_bundle(folder))
    except (OSError, ValueError) as error:
        raise _not_loadable(row.version, error) from error


@contextmanager
def open_bundle_folder(settings: Settings, row: VersionRow) -> Iterator[Path]:
    """Yields the folder of a version's bundle: where it lies on this machine, or a copy of it.

    Raises:
        OSError: Its files are gone.
    """
    if row.files.startswith("file:"):
        yield Path(url2pathname(urlsplit(row.files).path)) / "artifacts" / _BUNDLE
        return
    import mlflow.artifacts  # they lie behind a server, or in object storage
    from mlflow.exceptions import MlflowException

    open_mlflow_client(settings)
    with TemporaryDirectory() as folder:
        try:
            copy = mlflow.artifacts.download_artifacts(f"models:/{row.name}/artifacts/{_BUNDLE}", dst_path=folder)
        except MlflowException as error:
            raise OSError(str(error)) from error
        yield Path(copy)


def require_bundle_scores(bundle: Bundle) -> None:
    """Makes sure that a bundle scores, on two patches of nobody.

    Raises:
        BcdError: It gives no finite probability.
    """
    scores = bundle.score(np.full((2, PATCH_PIXELS, PATCH_PIXELS, 3), 200, np.uint8))
    if not np.isfinite(scores["probability"].to_numpy(dtype=np.float64)).all():
        raise BcdError(f"{bundle.name} gives no finite probability.", "Choose another version: `bcd model list`.")


def require_version(settings: Settings, which: str) -> str:
    """Returns the version that an alias, `3` or `bcd-idc/3` names.

    Raises:
        BcdError: There is no such version; where the champion's alias was deleted, the way back is named.
    """
    client = open_mlflow_client(settings)
    if which == "champion" and find_mlflow_version(client, which) is None:
        with open_store(settings) as store:
            told = explain_aliases(read_registered_versions(settings), store)
        raise BcdError(*(told or (f"There is no champion of {MODEL}.", "Run `bcd retrain` first.")))
    return require_mlflow_version(client, which)


def require_registered_version(settings: Settings, which: str) -> VersionRow:
    """Returns the version that an alias, `3` or `bcd-idc/3` names.

    Raises:
        BcdError: There is no such version.
    """
    version = require_version(settings, which)
    return next(row for row in read_registered_versions(settings) if row.version == version)


def _not_loadable(version: str, error: Exception) -> BcdError:
    """Returns the error that says that a version's files are gone, cut short or changed."""
    return DamagedError(
        f"{MODEL}/{version} cannot be loaded from the registry: {error}",
        "Restore its files from a backup, or make another version champion: `bcd model list` lists them.",
    )


def _ensure_model(client: MlflowClient) -> None:
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL, description=_ABOUT, tags={"bcd.use": "research use only"})


def _log_model(
    client: MlflowClient,
    key: str,
    run_id: str,
    *,
    record: BundleRecord,
    example: np.ndarray,
    write: Callable[[Path], None],
) -> str:
    """Stores the model of `key` and returns its id, also where a process died before it made a version of it."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    logged = (
        found[0]
        if found
        else client.create_logged_model(
            experiment, name=MODEL, source_run_id=run_id, tags={KEY_TAG: key}, model_type="bundle"
        )
    )
    model_id = str(logged.model_id)
    if logged.status != LoggedModelStatus.READY:
        with TemporaryDirectory() as folder:
            bundle = Path(folder) / _BUNDLE
            write(bundle)
            _store_model(Path(folder), model_id, record=record, example=example, bundle=bundle)
    outputs = client.get_run(run_id).outputs
    if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    Run(client, run_id).log_metrics(headline(record.metrics), model_id=model_id)
    return model_id


def _store_model(folder: Path, model_id: str, *, bundle: Path, record: BundleRecord, example: np.ndarray) -> None:
    """Stores a bundle's folder and code; MLflow says that the model is ready when all files are there."""
    import mlflow.pyfunc

    from bcd import versions

    path = sys.path
    try:
        mlflow.pyfunc.log_model(
            name=MODEL,
            model_id=model_id,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            code_paths=[str(copy_code_into_bundle(folder / "code"))],
            artifacts={_BUNDLE: str(bundle)},
            signature=_make_model_signature(record),
            input_example=example[:2],
            # Named, each once: MLflow would otherwise load the model in another process to guess them.
            pip_requirements=[f"{name}=={number}" for name, number in versions.required_versions().items()],
        )
    finally:
        # MLflow loads the model to try it on the example, and leaves its own copy of the code, which it then removes,
        # as the first place that modules are looked for, here and by processes that are started: they would import a
        # partial bcd while it is there, and afterwards whatever somebody puts into a folder of that name.
        sys.path = path


def _make_model_signature(record: BundleRecord) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    patches = TensorSpec(np.dtype(np.uint8), (-1, PATCH_PIXELS, PATCH_PIXELS, 3))
    columns = [("float", "logit"), ("double", "probability"), ("integer", "label")]
    columns += [("boolean", confident_column(level)) for level in record.policy.levels]
    return ModelSignature(Schema([patches]), Schema([ColSpec(kind, name) for kind, name in columns]))


def find_card(settings: Settings, which: str = "champion") -> Card:
    """Returns the card that a version was registered with.

    Args:
        settings: Where the registry is.
        which: An alias or a version, as in `load_bundle`.

    Raises:
        BcdError: There is no such version, or its card is gone.
    """
    row = require_registered_version(settings, which)
    try:
        with open_bundle_folder(settings, row) as folder:
            if (folder / RECORD).exists() and not (folder / CARD).exists():
                raise NotFoundError(f"{row.name} was registered without a card.", "Register it by `bcd retrain`.")
            markdown, html = ((folder / CARD / name).read_text("utf-8") for name in (MARKDOWN, HTML))
    except OSError as error:
        raise _not_loadable(row.version, error) from error
    return Card(short=row.description, markdown=markdown, html=html)
