"""How a bundle is written: its networks become the graph that is scored with, and both must agree.

Keras is at hand here, and only here: what scores with the bundle needs the graph alone.

Examples:
        write_graph(networks, folder / "graph")
        engine = Engine(folder / "graph")  # whose logits the policy is fitted on
        record = BundleRecord(engine=describe_engine(folder / "graph"), policy=policy, …)
        write_bundle(folder / "bundle", networks=networks, graph=folder / "graph", record=record)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.engine import GRAPH, import_openvino
from bcd.bundle.probes import draw_bundle_probes
from bcd.bundle.scorer import CARD, GRAPH_FOLDER, NETWORKS, RECORD, list_bundle_networks, load_scorer
from bcd.bundle.seen import SEEN
from bcd.errors import BcdError
from bcd.files import whole_folder

if TYPE_CHECKING:
    from keras import Model

    from bcd.bundle.card.card import Card
    from bcd.bundle.record import BundleRecord
    from bcd.bundle.seen import Seen

TOLERANCE = 1e-4
"""How far a calibrated probability of the engine may be from that of the Keras files."""

_PROBES = 32

_CONVERT = """
import sys
from pathlib import Path
from bcd.bundle.write import convert_networks
target, *networks = map(Path, sys.argv[1:])
convert_networks(networks, target)
"""


def write_graph(networks: Sequence[Path], folder: Path) -> None:
    """Writes the graph of several networks, unless the folder is there; the same networks make the same bytes.

    Args:
        networks: The Keras files, each from prepared patches to one logit.
        folder: Where it goes, whole or not at all; of the same networks only.

    Raises:
        BcdError: A file holds no network.
    """
    if folder.exists():
        return
    with whole_folder(folder) as partial, TemporaryDirectory() as work:
        converted = Path(work) / GRAPH
        if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
            convert_networks(networks, converted)
        else:  # OpenVINO reads TensorFlow's operations alone, and a Keras file is of no backend
            command = [sys.executable, "-c", _CONVERT, str(converted), *map(str, networks)]
            subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, check=True)
        _name_by_order(converted, partial / GRAPH)


def convert_networks(networks: Sequence[Path], target: Path) -> None:
    """Converts Keras files to one graph, `target` and the weights beside it; Keras must run on TensorFlow."""
    from bcd.bundle.export.graph import export_on_processor, join_networks
    from bcd.bundle.export.runtimes import write_openvino
    from bcd.networks.backend import keras
    from bcd.networks.keras_files import load_network
    from bcd.patches import PATCH_PIXELS

    patches = keras.Input((PATCH_PIXELS, PATCH_PIXELS, 3), dtype="uint8", name="patches")
    with export_on_processor():
        joined = join_networks([load_network(network) for network in networks])
        if len(networks) > 1:  # what each says is an output too: how far they disagree is stored with the scores
            each = keras.layers.Concatenate(name="each")(joined.get_layer("mean_of_members").input)
            joined = keras.Model(joined.input, [joined.output, each])
        logits = joined(keras.layers.Rescaling(1.0, name="float")(patches))
        write_openvino(keras.Model(patches, logits), target)


def _name_by_order(source: Path, target: Path) -> None:
    """Copies a graph, its operations named by their order: by themselves they have a process's running numbers."""
    openvino = import_openvino()
    model = openvino.Core().read_model(source)
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
        for output in operation.outputs():
            output.get_tensor().set_names(set())
    openvino.serialize(model, target)


def write_bundle(
    folder: Path,
    *,
    networks: Sequence[Path],
    graph: Path,
    record: BundleRecord,
    card: Card | None = None,
    seen: Seen | None = None,
) -> None:
    """Writes a bundle into a folder, and makes sure that its engine answers as its Keras files do.

    Args:
        folder: Where it goes, whole or not at all; it must not exist.
        networks: The Keras files, as many as the record says.
        graph: The folder of their graph.
        record: Everything else.
        card: Its model card.
        seen: Who it was trained on, where it is to leave this home.

    Raises:
        BcdError: There are not as many networks as the record says, or the engine answers otherwise.
    """
    if len(networks) != record.ensemble.members:
        raise BcdError(
            f"The bundle is made of {len(networks)} networks, and its record says {record.ensemble.members}.",
            "Give all of them.",
        )
    with whole_folder(folder) as partial:
        (partial / RECORD).write_text(record.model_dump_json(indent=2))
        (partial / NETWORKS).mkdir()
        for number, network in enumerate(networks, 1):
            shutil.copyfile(network, partial / NETWORKS / f"network-{number}.keras")
        shutil.copytree(graph, partial / GRAPH_FOLDER)
        if card is not None:
            card.write(partial / CARD)
        if seen is not None:
            seen.write(partial / SEEN)
        _require_agreement(partial, record)


def load_networks(folder: Path) -> list[Model]:
    """Loads the Keras files of a bundle's folder, in their order: to export and to train on."""
    from bcd.networks.keras_files import load_network

    return [load_network(file) for file in list_bundle_networks(folder)]


def _require_agreement(folder: Path, record: BundleRecord) -> None:
    from bcd.bundle.export.graph import export_on_processor
    from bcd.preprocessing.prepare import prepare
    from bcd.training.predict import predict_logits

    probes = draw_bundle_probes(_PROBES)
    scored = load_scorer(folder).score(probes)["probability"].to_numpy()
    with export_on_processor():
        logits = predict_logits(
            load_networks(folder), prepare(probes, record.preparation), turns=record.ensemble.turns
        )
    off = np.abs(scored - record.policy.calibrator.apply(logits))
    if not (off <= TOLERANCE).all():  # not a number is off, too
        raise BcdError(
            f"The engine gives a probability that is {off.max():.2g} from that of the Keras files, more than "
            f"{TOLERANCE:g}; the bundle was not written.",
            "Report it with the architecture: this version of OpenVINO computes one of its layers otherwise.",
        )
