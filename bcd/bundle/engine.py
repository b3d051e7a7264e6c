"""The engine that scores with a bundle's networks: OpenVINO on the processor, without Keras and TensorFlow.

The networks lie in one graph, from prepared patches to the mean of their logits. A request computes `BATCH` patches
on one thread, always, and as many requests run at a time as the process has cores: so a patch has the same logit, bit
for bit, whatever it is scored together with and on however many cores. Another kind of processor may round otherwise.

Examples:
        engine = Engine(folder / "graph")
        logits = engine.predict(prepare(pixels, options), turns=8)
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bcd.errors import DamagedError
from bcd.patches import PATCH_PIXELS
from bcd.progress import track_progress
from bcd.training.predict import turn_patches

if TYPE_CHECKING:
    from openvino import InferRequest

    from bcd.preprocessing.prepared import PatchRows
    from bcd.progress import Advance
    from bcd.training.options import Turns

GRAPH, WEIGHTS = "networks.xml", "networks.bin"
"""The files of a graph."""

Precision = Literal["float32", "bfloat16"]

BATCH = 8
"""Patches that a request computes; the last one of a call has what an earlier one left in the rest."""


class EngineRecord(BaseModel):
    """What a bundle is scored by; chosen when it was made, and the same for its policy, the gate and every score.

    Attributes:
        name: The engine.
        version: Of it, when the bundle was made.
        precision: What it computes in.
        sha256: Of the graph's files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["openvino"] = "openvino"
    version: str
    precision: Literal["float32"] = "float32"
    sha256: str


def describe_engine(graph: Path) -> EngineRecord:
    """Describes the engine of this installation with the graph in a folder."""
    return EngineRecord(version=version("openvino"), sha256=digest_graph(graph))


def digest_graph(graph: Path) -> str:
    """Returns the SHA-256 of a graph's files."""
    digest = hashlib.sha256()
    for name in (GRAPH, WEIGHTS):
        digest.update((graph / name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks and turns say of patches.

    Attributes:
        logits: The mean over networks and turns, (n,) float32.
        each: What each says, (networks * turns, n) float32.
    """

    logits: NDArray[np.float32]
    each: NDArray[np.float32]


class Engine:
    """A graph, compiled for this processor.

    Args:
        graph: The folder of the graph, as `write_graph` leaves it; it is not needed any more afterwards.
        cores: How many to use; None: all that the process may.
        precision: What it computes in. A bundle is scored in float32 only; bfloat16 is there to be measured.

    Raises:
        BcdError: The graph cannot be read.
    """

    def __init__(self, graph: Path, *, cores: int | None = None, precision: Precision = "float32") -> None:
        openvino = import_openvino()
        self._cores = cores or len(os.sched_getaffinity(0))
        settings = {
            # By itself OpenVINO takes bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "NUM_STREAMS": self._cores,
            "INFERENCE_NUM_THREADS": self._cores,
        }
        core = openvino.Core()
        try:
            # From memory: a mapped file must not change while somebody scores with it.
            model = core.read_model((graph / GRAPH).read_bytes(), (graph / WEIGHTS).read_bytes())
            model.reshape([BATCH, PATCH_PIXELS, PATCH_PIXELS, 3])
            self._compiled = core.compile_model(model, "CPU", settings)
        except (OSError, RuntimeError) as error:
            raise DamagedError(
                f"The graph in {graph} cannot be read: {str(error).splitlines()[0]}.",
                "Its files are damaged: use another version, or retrain.",
            ) from error
        shapes = [tuple(output.shape) for output in self._compiled.outputs]
        # Group normalisation leaves scalars behind, which are outputs too.
        self._widths = [int(shape[1]) if len(shape) == 2 else 0 for shape in shapes]

    def predict(
        self, prepared: NDArray[np.uint8] | PatchRows, *, turns: Turns = 1, advance: Advance | None = None
    ) -> NDArray[np.float32]:
        """Predicts one logit a patch, the mean over networks and turns; as `answer`.

        Returns:
            Logits (n,) float32; above 0 speaks for invasive ductal carcinoma.
        """
        return self.answer(prepared, turns=turns, advance=advance).logits

    def answer(
        self, prepared: NDArray[np.uint8] | PatchRows, *, turns: Turns = 1, advance: Advance | None = None
    ) -> Answers:
        """Says what every network and turn makes of patches.

        Args:
            prepared: Prepared patches (n, 50, 50, 3) uint8, in memory or memory-mapped; n may be 0.
            turns: 1, the patch as it lies; or 8, all its exact turns.
            advance: Told of every few patches; None: a progress of its own.
        """
        if advance is None:
            with track_progress("Predicting patches", total=len(prepared)) as shown:
                return self.answer(prepared, turns=turns, advance=shown)
        # The mean of the networks is the graph's own; where there are several, it has a second output, each of them.
        mean, last = self._widths.index(1), len(self._widths) - 1 - self._widths[::-1].index(max(self._widths))
        means = np.empty((turns, len(prepared)), np.float32)
        each = np.empty((turns, len(prepared), self._widths[last]), np.float32)
        # Requests in turn, and twice as many as cores so that none waits for Python; no callbacks, for those run in
        # OpenVINO's threads, which then hang at Python's lock when the engine or the process ends.
        requests = [self._compiled.create_infer_request() for _ in range(2 * self._cores)]
        running: deque[tuple[InferRequest, dict[int, NDArray[np.float32]]]] = deque()
        for start in range(0, len(prepared), BATCH):
            patches = prepared[start : start + BATCH]
            for turn, turned in enumerate(turn_patches(patches, turns)):
                request = requests.pop() if requests else _finish_request(*running.popleft())
                request.get_input_tensor(0).data[: len(patches)] = turned
                request.start_async()
                here = slice(start, start + len(patches))
                running.append((request, {last: each[turn, here], mean: means[turn, here, None]}))
            advance(len(patches))
        for request, rows in running:
            _finish_request(request, rows)
        if last == mean:
            each = means[..., None]
        logits: NDArray[np.float32] = means.mean(axis=0, dtype=np.float64).astype(np.float32)
        return Answers(logits, each.transpose(0, 2, 1).reshape(turns * each.shape[2], len(prepared)))


def _finish_request(request: InferRequest, outputs: dict[int, NDArray[np.float32]]) -> InferRequest:
    """Waits for a request, keeps what its outputs say, by their number, and returns it, free for the next patches."""
    request.wait()
    for number, rows in outputs.items():
        rows[:] = request.get_output_tensor(number).data[: len(rows)]
    return request


def import_openvino() -> ModuleType:
    """Imports OpenVINO without its telemetry, which would send a message at the import already."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")
