"""The bundle: what is registered and deployed, as one MLflow model of code, Keras files and a JSON record.

The code is carried in it: a notebook that has the packages of its requirements, but no bcd, loads and scores.

Examples:
        bundle = load_bundle(settings)  # the champion
        bundle.score(pixels)  # logit, probability, label, confident_80, …
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.aliases import find_lost_champion, tell_lost_champion
from bcd.bundle.card.card import HTML, MARKDOWN, Card
from bcd.bundle.carried_code import copy_code
from bcd.bundle.distance import Distance, measure_distance
from bcd.bundle.record import BundleRecord, describe_record
from bcd.bundle.rows import read_rows
from bcd.bundle.scorer import Scorer, confident_column, require_patches
from bcd.bundle.seen import SEEN, Seen, read_seen
from bcd.errors import BcdError
from bcd.patches import PATCH_PIXELS
from bcd.settings import Settings
from bcd.store.store import open_store
from bcd.tracking.lookup import KEY_TAG, MODEL, find_version, resolve_version
from bcd.tracking.run import Run
from bcd.tracking.store import locked, open_client

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel

    from bcd.bundle.card.card import Card

_ABOUT = (
    "Finds invasive ductal carcinoma in 50x50 RGB patches of breast tissue at about 4 µm/px. "
    "Research use only: not a medical device, not for diagnosis. "
    "Alias `champion` scores patients, `previous` is what it replaced, `challenger` was held by the gate."
)


@dataclass(frozen=True)
class Bundle:
    """A registered bundle, ready to score.

    Attributes:
        version: Its version in the registry.
        record: What it is made of and where it comes from.
        seen: Who it was trained on, of one that came from elsewhere; None: its snapshot says it.
    """

    version: str
    record: BundleRecord
    _model: PyFuncModel
    seen: Seen | None = None

    @property
    def name(self) -> str:
        """How it is called everywhere, such as `bcd-idc/3`."""
        return f"{MODEL}/{self.version}"

    @property
    def scorer(self) -> Scorer:
        """Its networks and policy, behind MLflow."""
        scorer: Scorer = self._model.unwrap_python_model().scorer
        return scorer

    def score(self, pixels: np.ndarray) -> pd.DataFrame:
        """Scores raw patches through the registered model.

        Args:
            pixels: RGB patches, uint8, shape (n, 50, 50, 3).

        Returns:
            A row a patch, in order: logit, probability (calibrated), label, and confident_80, … by level.

        Raises:
            BcdError: The array is not of that type and shape.
        """
        require_patches(pixels)
        scores: pd.DataFrame = self._model.predict(pixels)
        return scores

    def measure(self, pixels: np.ndarray) -> Distance | None:
        """Measures how far patches of a patient lie from those that it was trained on; None where it cannot say."""
        return None if self.record.reference is None else measure_distance(self.record.reference, pixels)


def register_bundle(
    settings: Settings,
    *,
    key: str,
    run_id: str,
    networks: Sequence[Path],
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
        record: Everything else.
        example: A few raw patches, uint8 (n, 50, 50, 3), kept as the model's example of its input: of nobody, since
            the registry outlives a patient's withdrawal.
        card: Its model card, kept with it.
        seen: Who it was trained on, of one that came from elsewhere.
    """
    client = open_client(settings)
    with locked(settings):
        version = find_version(client, key)
        if version is None:
            _ensure_model(client)
            model_id = _log_model(
                client, key, run_id, networks=networks, record=record, example=example, card=card, seen=seen
            )
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
    import mlflow.artifacts
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    version = require_version(settings, which)
    try:
        # From a copy: where the home's path holds a %, MLflow would look for the model beside the home.
        with _keep_path(), TemporaryDirectory() as folder:
            files = mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{version}", dst_path=folder)
            model = mlflow.pyfunc.load_model(files)
            seen = read_seen(Path(files) / "artifacts")
        record: BundleRecord = model.unwrap_python_model().scorer.record
    except (MlflowException, OSError, ValueError) as error:  # its files are gone, cut short or changed
        raise not_loadable(version, error) from error
    return Bundle(version=version, record=record, _model=model, seen=seen)


def not_loadable(version: str, error: Exception) -> BcdError:
    """Returns the error that says that a version's files are gone, cut short or changed."""
    return BcdError(
        f"{MODEL}/{version} cannot be loaded from the registry: {error}",
        "Restore its files from a backup, or make another version champion: `bcd model list` lists them.",
    )


def require_scores(name: str, score: Callable[[np.ndarray], pd.DataFrame]) -> None:
    """Makes sure that a bundle scores, on two patches of nobody.

    Args:
        name: What it is called.
        score: Its way to score raw patches.

    Raises:
        BcdError: It gives no finite probability.
    """
    scores = score(np.full((2, PATCH_PIXELS, PATCH_PIXELS, 3), 200, np.uint8))
    if not np.isfinite(scores["probability"].to_numpy(dtype=np.float64)).all():
        raise BcdError(f"{name} gives no finite probability.", "Choose another version: `bcd model list`.")


def require_version(settings: Settings, which: str) -> str:
    """Returns the version that an alias, `3` or `bcd-idc/3` names.

    Raises:
        BcdError: There is no such version; where the champion's alias was deleted, the way back is named.
    """
    version = resolve_version(open_client(settings), which)
    if version is not None:
        return version
    if which == "champion":
        lost = find_lost_champion(read_rows(settings), open_store(settings))
        if lost is not None:
            raise BcdError(*tell_lost_champion(lost))
    raise BcdError(
        f"There is no {which} of {MODEL} in the registry.",
        "Run `bcd retrain` first." if which == "champion" else "`bcd status` lists the versions.",
    )


def _ensure_model(client: MlflowClient) -> None:
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL, description=_ABOUT, tags={"bcd.use": "research use only"})


@contextmanager
def _keep_path() -> Iterator[None]:
    """Forgets where MLflow found a bundle's own code: the processes that this one starts are to run its code."""
    before = sys.path
    try:
        yield
    finally:
        sys.path = before


def _log_model(
    client: MlflowClient,
    key: str,
    run_id: str,
    *,
    networks: Sequence[Path],
    record: BundleRecord,
    example: np.ndarray,
    card: Card | None,
    seen: Seen | None,
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
            _write_model(
                Path(folder), model_id, networks=networks, record=record, example=example, card=card, seen=seen
            )
    outputs = client.get_run(run_id).outputs
    if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    Run(client, run_id).log_metrics(record.metrics, model_id=model_id)
    return model_id


def _write_model(
    folder: Path,
    model_id: str,
    *,
    networks: Sequence[Path],
    record: BundleRecord,
    example: np.ndarray,
    card: Card | None,
    seen: Seen | None,
) -> None:
    """Gathers the bundle's files in `folder` and stores them; MLflow says that the model is ready when all are."""
    import mlflow.pyfunc

    from bcd import versions

    file, weights = folder / "bundle.json", folder / "networks"
    file.write_text(record.model_dump_json(indent=2))
    weights.mkdir()
    for number, network in enumerate(networks, 1):
        shutil.copyfile(network, weights / f"network-{number}.keras")
    artifacts = {"networks": str(weights), "record": str(file)}
    if card is not None:
        artifacts["card"] = str(card.write(folder / "card"))
    if seen is not None:
        seen.write(folder / SEEN)
        artifacts["seen"] = str(folder / SEEN)
    mlflow.pyfunc.log_model(
        name=MODEL,
        model_id=model_id,
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        code_paths=[str(copy_code(folder / "code"))],
        artifacts=artifacts,
        signature=_signature(record),
        input_example=example[:2],
        # Named, each once: MLflow would otherwise load the model in another process to guess them.
        pip_requirements=[f"{name}=={number}" for name, number in versions.required_versions().items()],
    )


def _signature(record: BundleRecord) -> ModelSignature:
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
    import mlflow

    version = require_version(settings, which)
    found = open_client(settings).get_model_version(MODEL, version)
    with TemporaryDirectory() as folder:
        files = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{version}/artifacts", dst_path=folder))
        card = files / "card"
        if not card.is_dir():
            raise BcdError(f"{MODEL}/{version} was registered without a card.", "Register it by `bcd retrain`.")
        markdown, html = ((card / name).read_text("utf-8") for name in (MARKDOWN, HTML))
    return Card(short=found.description or "", markdown=markdown, html=html)
