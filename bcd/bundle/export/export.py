"""Export of a bundle to one file that scores raw patches without bcd: Keras, HDF5, ONNX or OpenVINO.

The file is loaded in its own runtime and compared with the bundle before it gets its name, so a file that exists
gives the bundle's scores.

Examples:
        with open_folder(settings, row) as folder:
            note = export_bundle(folder, row.name, "onnx", Path("bcd-idc.onnx"))
        note.difference
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bcd.bundle.export.runtimes import OUTPUTS, RUNTIMES, Format, Scores
from bcd.bundle.probes import draw_bundle_probes
from bcd.bundle.scorer import load_scorer
from bcd.bundle.write import load_networks
from bcd.errors import BcdError
from bcd.evaluation.policy.policy import Policy
from bcd.files import partial_folder, whole_file
from bcd.formats import format_level

TOLERANCE = 1e-4
"""How far a score of the file may be from the bundle's; a logit above 1 in size, by its size."""

_PROBES = 64


class ExportNote(BaseModel):
    """What an exported file is; it lies beside the file as `FILE.json`.

    Attributes:
        bundle: What was exported, such as `bcd-idc/3`.
        format: As what.
        input: What the file takes.
        outputs: What it gives.
        levels: Confidence levels of the bundle's policy: a patch is confident at one where the probability of its
            likelier class is at least that.
        certified: The confidence that keeps to each target error that could be certified, such as `{"5 %": 0.92}`.
        context: That the file scores patch by patch, where the bundle's policy has a stage of neighbours, too.
        snapshot: Id of the snapshot that the bundle was trained on.
        probes: Patches on which file and bundle were compared.
        difference: Largest difference from the bundle's scores, of `logit` and `probability`.
        made_with: The runtime's version, and hints that it needs.
        use: What for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str
    format: Format
    input: str = "patches: uint8 (n, 50, 50, 3), RGB as cut, neither scaled nor sharpened"
    outputs: dict[str, str] = {
        "logit": "float32 (n, 1), mean over networks and turns",
        "probability": "float32 (n, 1), calibrated probability of invasive ductal carcinoma",
    }
    levels: tuple[float, ...]
    certified: dict[str, float]
    context: str
    snapshot: str
    probes: int
    difference: dict[str, float]
    made_with: dict[str, str]
    use: str = "Research use only: not a medical device, not for diagnosis."


def export_bundle(bundle: Path, name: str, format: Format, path: Path) -> ExportNote:  # noqa: A002
    """Writes a bundle as one file of another format, checks it, and says beside it what it is.

    Args:
        bundle: The folder of what to export.
        name: What it is called, such as `bcd-idc/3`.
        format: As what.
        path: The file, with the format's suffix; OpenVINO's weights lie beside it as `.bin`.

    Returns:
        What the file is, and how far its scores are from the bundle's.

    Raises:
        BcdError: The format's packages are missing, the bundle cannot be exported, or the file's scores are not the
            bundle's; there is no file then.
    """
    from bcd.bundle.export.graph import build_graph, export_on_processor

    runtime = RUNTIMES[format]
    runtime.require(format)
    if path.suffix != runtime.suffix:
        raise BcdError(f"{path} is no name for {format}.", f"Let it end in {runtime.suffix}.")
    probes = draw_bundle_probes(_PROBES)
    with partial_folder(path.parent) as folder, export_on_processor():
        scorer = load_scorer(bundle)
        record, expected = scorer.record, scorer.score(probes)
        file = folder / path.name
        runtime.write(build_graph(load_networks(bundle), record, fold_turns=runtime.converts), file)
        difference = _compare_exported_scores(
            runtime.score(file, probes), {score: expected[score].to_numpy() for score in OUTPUTS}
        )
        note = ExportNote(
            bundle=name,
            format=format,
            levels=record.policy.levels,
            certified={
                format_level(row.target_error): row.threshold
                for row in record.policy.certified
                if row.threshold is not None
            },
            context=_tell_context(record.policy),
            snapshot=record.snapshot,
            probes=len(probes),
            difference=difference,
            made_with={package: version(package) for package in runtime.packages or ("keras",)},
        )
        (folder / f"{path.name}.json").write_text(note.model_dump_json(indent=2))
        for made in sorted(folder.iterdir(), key=lambda made: made.name == path.name):  # the file itself last
            with whole_file(path.parent / made.name) as partial:
                shutil.copyfile(made, partial)
    return note


def _tell_context(policy: Policy) -> str:
    if policy.context is None:
        return "The bundle scores patch by patch, and so does this file."
    return (
        "Not in this file: the bundle's second probability, which corrects a patch of a complete slide by its"
        " neighbours. This file scores patch by patch; score with the bundle where neighbours are to count."
    )


def _compare_exported_scores(found: Scores, expected: Scores) -> dict[str, float]:
    """Returns the largest difference of each score.

    Raises:
        BcdError: It is more than is allowed.
    """
    differences = {}
    for name, wanted in expected.items():
        off: NDArray[np.float64] = np.abs(found[name].astype(np.float64) - wanted)
        differences[name] = float(off.max())
        if not (off <= TOLERANCE * np.maximum(1, np.abs(wanted))).all():  # not a number is off, too
            raise BcdError(
                f"The exported file gives a {name} that is {differences[name]:.2g} from the bundle's, more than "
                f"{TOLERANCE:g}; it was not kept.",
                "Export to keras, or update the packages of the extra `export`.",
            )
    return differences
