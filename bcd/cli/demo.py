"""`bcd demo`: the main job from end to end, on a made-up hospital or on real deliveries."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.terminal import whole_command
from bcd.errors import BcdError, InsufficientEvidenceError, NotFoundError
from bcd.files import whole_file
from bcd.patches import PatchName

if TYPE_CHECKING:
    from bcd.admission.admit import Admission
    from bcd.cli.screen import Screen
    from bcd.retraining.stages import Outcome
    from bcd.scoring.result import PatientScore
    from bcd.settings import Settings
    from bcd.snapshots.options import SplitOptions

SYNTHETIC_HOSPITAL = "synthetic"
REAL_HOSPITAL = "public-idc"
_MEMORY = "demo.json"


def demo_command(
    data: Annotated[
        Path | None,
        typer.Option(
            help="An archive or folder of real patches, or a folder of deliveries, the last of which arrives second."
            " By default bcd draws synthetic ones."
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="The protocol that deals patients to splits. By default the one that suits them."),
    ] = "",
) -> None:
    """Play a hospital: admit deliveries, train a champion, challenge it, and score an unseen patient.

    A single delivery, as the public archive is, makes a champion and no challenger.
    """
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.snapshots.options import SplitOptions

    settings = load_settings()
    deliveries = [] if data is None else find_demo_data(data)  # before Prefect starts, which takes seconds
    chosen = protocol or settings.splits.get("protocol") or suggest_demo_next(deliveries)
    splits = settings.options("splits", SplitOptions, protocol=chosen)
    with open_terminal(settings, needs_home=False, runs_flows=True) as console:
        started = time.monotonic()
        memory = Memory.open(settings, data=str(data.absolute()) if data else "synthetic", protocol=chosen)
        console.print(
            f"Protocol {chosen}" + (", which suits these patients" if data and not protocol else "") + ".",
        )
        write_demo_protocol(settings, chosen)
        if memory.first_snapshot:
            console.print(f"{settings.home} holds a demo already: what is done is found done.\n", soft_wrap=True)
        deliveries = deliveries or _draw_deliveries(settings, console)
        result = _play_demo(settings, console, memory, splits, deliveries)
        summarise(settings, console, result, seconds=time.monotonic() - started)


@dataclass(frozen=True)
class Memory:
    """What a demo must know when it is run again in the same BCD_HOME.

    Attributes:
        data: The delivery, or the folder of the deliveries, or `synthetic`.
        protocol: How patients are split.
        first_snapshot: Id of the snapshot that was frozen before the last delivery came; empty until then.
    """

    data: str
    protocol: str
    first_snapshot: str = ""

    @classmethod
    def open(cls, settings: Settings, *, data: str, protocol: str) -> Memory:
        """Reads the memory of this BCD_HOME, or begins one.

        Raises:
            BcdError: The BCD_HOME is of another demo.
        """
        file = settings.home / _MEMORY
        if not file.exists():
            return cls(data, protocol)
        memory = cls(**json.loads(file.read_text()))
        if (memory.data, memory.protocol) != (data, protocol):
            raise BcdError(
                f"{settings.home} holds a demo on {memory.data} with protocol {memory.protocol}.",
                "Choose another folder: `bcd --home FOLDER demo`.",
            )
        return memory

    def keep_snapshot(self, settings: Settings, snapshot: str) -> None:
        """Remembers the first snapshot."""
        with whole_file(settings.home / _MEMORY) as partial:
            partial.write_text(json.dumps(asdict(replace(self, first_snapshot=snapshot)), indent=2))


@dataclass(frozen=True)
class Result:
    """What a demo came to: its admissions, its retrainings (one, or two), the scored patient."""

    admissions: list[Admission]
    outcomes: list[Outcome]
    score: PatientScore


def write_demo_protocol(settings: Settings, protocol: str) -> None:
    """Writes the protocol into bcd.toml where there is none, so that scheduled retrainings have the same.

    And trials two at a time where there are the cores: a training of so few patches leaves one idle.
    """
    file = settings.home / "bcd.toml"
    if not file.exists():
        workers = min(2, len(os.sched_getaffinity(0)))
        with whole_file(file) as partial:
            partial.write_text(
                f'# Written by `bcd demo`.\n[splits]\nprotocol = "{protocol}"\n\n[search]\nworkers = {workers}\n'
            )


def find_demo_data(path: Path) -> list[Path]:
    """Lists deliveries by name, each looked at: the one that a path is, or those that lie in it.

    Raises:
        BcdError: It is not there, holds no delivery, or one of them is none.
    """
    from bcd.admission.delivery import check_delivery

    if not path.exists():
        raise NotFoundError(
            f"{path} is not there.", "Name an archive, or a folder that holds deliveries (zips or folders)."
        )
    deliveries = [path] if _is_delivery(path) else sorted(one for one in path.iterdir() if _may_be_delivery(one))
    if not deliveries:
        raise NotFoundError(f"{path} holds no delivery.", "Name an archive, or a folder that holds zips or folders.")
    for delivery in deliveries:
        check_delivery(delivery)
    return deliveries


def _is_delivery(path: Path) -> bool:
    """Whether a path is one delivery, and no folder of several: it holds patches, or patients' folders of labels."""
    return path.is_file() or any(
        PatchName.parse(child.name) is not None or any((child / label).is_dir() for label in "01")
        for child in path.iterdir()
    )


def _may_be_delivery(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


def suggest_demo_next(deliveries: list[Path]) -> str:
    """Returns the protocol that suits the patients of the deliveries."""
    from bcd.admission.delivery import list_delivered_patients
    from bcd.snapshots.splits import suggest_protocol

    return suggest_protocol(set().union(*(list_delivered_patients(delivery) for delivery in deliveries)))


def _draw_deliveries(settings: Settings, console: Screen) -> list[Path]:
    """Lets the synthetic hospital draw its deliveries."""
    from bcd.synthetic.hospital import draw_hospital
    from bcd.synthetic.options import HospitalOptions

    print_demo_heading(console, 1, "The synthetic hospital draws its patients")
    return draw_hospital(settings.options("synthetic", HospitalOptions), settings.home / "synthetic")


def _play_demo(
    settings: Settings, console: Screen, memory: Memory, splits: SplitOptions, deliveries: list[Path]
) -> Result:
    """Runs the flows, as the inbox and the schedules would."""
    from bcd.search.options import SearchOptions
    from bcd.store.hospitals import declare_hospital
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store
    from flows.ingest import ingest
    from flows.retrain import retrain
    from flows.score import score

    hospital = SYNTHETIC_HOSPITAL if memory.data == "synthetic" else REAL_HOSPITAL
    # Drawn patients are nobody, and the public set's identifiers are pseudonyms.
    declare_hospital(open_store(settings), hospital, "pseudonyms", SignOff("bcd demo", "it has no real patients"))
    early, late = (deliveries[:-1], deliveries[-1:]) if len(deliveries) > 1 else (deliveries, [])
    print_demo_heading(console, 2, f"{', '.join(path.name for path in early)} of {hospital}: the first champion")
    admissions = [ingest(str(path.absolute()), hospital)[0] for path in early]
    search = settings.options("search", SearchOptions, seeds=1)  # its verdict says that seed noise was not checked
    outcomes = [retrain(memory.first_snapshot, splits=splits, search=search)]
    # A second run must not take the last delivery into the first snapshot.
    memory.keep_snapshot(settings, outcomes[0].snapshot.id)
    print_demo_heading(
        console, 3, f"{late[0].name} arrives: a challenger, and the gate" if late else "No second delivery arrives"
    )
    for path in late:
        admissions += ingest(str(path.absolute()), hospital)
        outcomes.append(retrain(splits=splits, search=search))
    print_demo_heading(console, 4, "An unseen patient is scored with the champion")
    [scored] = score(patient=_find_unseen_patient(outcomes[-1]), hospital=hospital)
    return Result(admissions, outcomes, scored)


def _find_unseen_patient(outcome: Outcome) -> str:
    """Returns the test patient with the most patches; without test patients, the gate patient."""
    for split in ("test", "gate"):
        patches = outcome.snapshot.of(split)
        if len(patches):
            return str(patches["patient"].value_counts().index[0])
    raise InsufficientEvidenceError(
        "No patient is unseen: the test and gate splits are empty.", "Use deliveries with more labelled patients."
    )


def summarise(settings: Settings, console: Screen, result: Result, *, seconds: float) -> None:
    """Prints the closing summary."""
    from bcd.cli.tables import print_admissions, print_outcome, print_scores

    print_demo_heading(console, 5, "Summary")
    print_admissions(console, result.admissions)
    for title, outcome in zip(("The first champion", "The challenger"), result.outcomes, strict=False):
        console.print(f"\n[bold]{title}[/]")
        print_outcome(console, outcome)
    console.print()
    print_scores(console, [result.score])
    files = {"report": result.score.report, "scores": result.score.scores}
    for pictures in result.score.pictures[:1]:
        files |= {"slide": pictures.picture, "heatmap": pictures.heatmap}
    for name, path in files.items():
        console.print(f"  {name:<8} {path}", soft_wrap=True)
    figures = result.outcomes[-1].evaluated.folder / "test"
    console.print(f"  figures  {figures}", soft_wrap=True)
    command = whole_command(settings, "up")
    console.print(f"\nDone in {seconds / 60:.1f} minutes. Research use only.")
    console.print(f"Prefect dashboard and MLflow UI on what just ran: {command}", soft_wrap=True)


def print_demo_heading(console: Screen, number: int, text: str) -> None:
    """Prints the title of a step."""
    console.print(f"\n[bold]{number}/5  {text}[/]")
