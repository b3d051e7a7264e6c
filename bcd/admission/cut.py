"""The slides of a delivery, cut into patches that join the others.

A slide in an archive is copied to a scratch folder first, because OpenSlide reads files only, and removed after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bcd.admission.findings import Findings
from bcd.admission.pixels import find_blank, flag_delivered_pixels, hash_delivered_pixels, look_at_pixels
from bcd.admission.plan import UNLABELLED, AdmissionPlan, SlideFile
from bcd.admission.rules import Refusal
from bcd.admission.slides.dicom import group_dicom_series
from bcd.admission.slides.names import TIFF_SUFFIXES, SlideName, is_dicom
from bcd.admission.slides.reading import open_slide
from bcd.admission.slides.tiling import SlideError, Tiles, tile_slide
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.files import hash_file, partial_folder
from bcd.formats import format_some
from bcd.options import Microns
from bcd.patches import SlideId
from bcd.progress import say_progress, track_progress
from bcd.store.complete import CompleteSlide
from bcd.store.frames import SlideFrame
from bcd.store.hospitals import COARSEST
from bcd.store.spool import Spool

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Tiler:
    """Who cuts slides.

    Attributes:
        begin: Begins to cut a slide as `tile_slide` does, which takes the same; its tiles are taken in due course.
        width: How many slides it cuts at a time; so many lie on disk.
    """

    begin: Callable[[Path, Microns | None, Microns], Iterable[Tiles]] = tile_slide
    width: int = 1


OpenTiler = Callable[[int], AbstractContextManager[Tiler]]
"""Opens a tiler for a number of slides."""


def open_own_tiler(slides: int) -> AbstractContextManager[Tiler]:  # noqa: ARG001
    """Opens the one that cuts a slide after another in this process, as its tiles are asked for."""
    return nullcontext(Tiler())


def cut_slides(
    source: Source,
    plan: AdmissionPlan,
    findings: Findings,
    spool: Spool,
    *,
    scratch: Path,
    spacing: Microns | None,
    coarsest: Microns = COARSEST,
    open_tiler: OpenTiler = open_own_tiler,
) -> None:
    """Cuts slides into patches, appends their pixels to the spool and their rows to the findings.

    A slide is all admitted or refused: where damage shows late, what was cut of it before is dropped. Its bytes are
    never kept in quarantine: its label image and its metadata may name a patient.

    Args:
        source: The delivery.
        plan: Its slides, and which of its slides are declared to be complete.
        findings: What was found so far; slides join it.
        spool: Takes the pixels.
        scratch: Folder for copies.
        spacing: In µm per pixel, for slides that do not say it; what a table says of a slide counts before it.
        coarsest: In µm per pixel; a slide whose finest level says more is refused unless its spacing is given.
        open_tiler: Who cuts them.
    """
    _look_at_misnamed(source, findings, scratch, spacing, coarsest)
    findings.complete += [CompleteSlide(patient, slide, "declared") for patient, slide in sorted(plan.complete)]
    if plan.slides:
        frames = [findings.patches]
        with (
            open_tiler(len(plan.slides)) as tiler,
            track_progress("Cutting slides", total=len(plan.slides)) as advance,
        ):

            def begin(slide: SlideFile, path: Path) -> Iterable[Tiles]:
                return tiler.begin(path, spacing if slide.spacing is None else slide.spacing, coarsest)

            begun = (_begin_planned_slides(source, planned, findings, scratch, begin) for planned in plan.slides)
            with closing(_enter_ahead(begun, tiler.width)) as entered:
                for slides in entered:
                    for slide, tiles in slides:
                        frames += _keep_slide(slide, tiles, findings, spool)
                    advance(1)
        findings.patches = _in_order(frames)
    _tell_absent(findings, plan.complete)


def _tell_absent(findings: Findings, complete: Mapping[SlideName, int]) -> None:
    """Refuses tables that declare slides complete of which the delivery has no patch; their other rows count."""
    if not complete:
        return
    slides = findings.patches[["patient", "slide"]].drop_duplicates()
    delivered = set(slides.itertuples(index=False, name=None))
    absent: dict[int, list[str]] = {}
    for (patient, slide), table in sorted(complete.items()):
        if (patient, slide) not in delivered:
            absent.setdefault(table, []).append(f"{patient} slide {slide}")
    for table, names in absent.items():
        said = findings.refused[table].message if table in findings.refused else "The other rows count."
        message = (
            f"The delivery has no patch of slides that rows declare complete: {format_some(names, _SHOWN)}."
            f" `bcd patient complete` says it of patches that are admitted already. {said}"
        )
        findings.refused[table] = Refusal("slides-file", message)
        say_progress(message)


def _enter_ahead(contexts: Iterable[AbstractContextManager[T]], width: int) -> Generator[T]:
    """Enters contexts, so many ahead, and leaves each when the next is asked for."""
    with ExitStack() as whole:
        entered: deque[tuple[ExitStack, T]] = deque()

        def hand_out() -> Iterator[T]:
            stack, value = entered.popleft()
            with stack:
                yield value

        for context in contexts:
            stack = whole.enter_context(ExitStack())
            entered.append((stack, stack.enter_context(context)))
            if len(entered) == width:
                yield from hand_out()
        while entered:
            yield from hand_out()


def _keep_slide(slide: SlideFile, tiles: Iterable[Tiles], findings: Findings, spool: Spool) -> list[pd.DataFrame]:
    """Takes a slide's tiles: their pixels to the spool, what they say to the findings; returns its rows."""
    rows = []
    try:
        for some in tiles:  # one at least, or it raises
            rows.append(_make_slide_rows(slide, some, spool))
            frame = some.frame
    except SlideError as error:
        _refuse_slide(findings, slide, Refusal(error.rule, f"{error}"))
        return []
    findings.frames.append(SlideFrame(slide.patient, slide.slide, frame))
    if slide.complete is not False:
        findings.complete.append(CompleteSlide(slide.patient, slide.slide, "tiled"))
    say_progress(f"{findings.names[slide.member]}: {sum(map(len, rows)):,} patches with tissue.")
    return rows


def _look_at_misnamed(
    source: Source, findings: Findings, scratch: Path, spacing: Microns | None, coarsest: Microns
) -> None:
    """Adds to the refusal of a slide by its name whether its spacing is known: all is to be fixed in one go."""
    for member, refusal in list(findings.refused.items()):
        if refusal.rule != "name" or PurePosixPath(source.names[member]).suffix.lower() not in TIFF_SUFFIXES:
            continue  # any other format of slides says its spacing
        try:
            with _on_disk(source, [member], scratch) as (path,), open_slide(path, spacing, coarsest):
                said = "" if spacing else " It says its spacing, and needs no --spacing."
        except SlideError as error:
            said = f" {error}" if error.rule == "no-spacing" else ""
        except UnreadableFileError:  # its name is what it is refused for
            continue
        findings.refused[member] = Refusal("name", f"{refusal.message}{said}")


@contextmanager
def _begin_planned_slides(
    source: Source,
    planned: SlideFile,
    findings: Findings,
    scratch: Path,
    begin: Callable[[SlideFile, Path], Iterable[Tiles]],
) -> Iterator[list[tuple[SlideFile, Iterable[Tiles]]]]:
    """Begins to cut the slides that files are, and yields each with its tiles; they lie on disk during the block."""
    files = [planned.member, *planned.companions]
    findings.private.update(files)
    with ExitStack() as stack:
        try:
            paths = stack.enter_context(_on_disk(source, files, scratch))
        except UnreadableFileError as error:
            _refuse_slide(findings, planned, Refusal(error.rule, f"Not readable: {error}."))
            yield []
            return
        for member, path in zip(files, paths, strict=True):
            findings.digests[member] = _hash_slide_file(path)
        path_of = dict(zip(files, paths, strict=True))
        yield [(slide, begin(slide, path_of[slide.member])) for slide in _tell_apart(planned, path_of, findings)]


def _tell_apart(planned: SlideFile, path_of: Mapping[int, Path], findings: Findings) -> list[SlideFile]:
    """Returns the slides that the DICOM files of a folder are, one a series; of other files the one that they are.

    Where the folder says only whose they are, several are numbered from 1, in the order of their series.
    """
    if not is_dicom(PurePosixPath(path_of[planned.member].name)):
        return [planned]
    members = sorted(path_of)
    series, strays = group_dicom_series([path_of[member] for member in members])
    if not series:
        return [planned]
    slides = [
        replace(
            planned,
            member=members[first],
            companions=[members[place] for place in others],
            slide=SlideId(str(number)),
        )
        for number, (first, *others) in enumerate(series, start=1)
    ]
    for place in strays:
        stray = replace(planned, member=members[place], companions=[])
        _refuse_slide(
            findings, stray, Refusal("unreadable", "The DICOM file does not say to which series it belongs.")
        )
    if len(slides) == 1:
        return [replace(slides[0], slide=planned.slide)]
    if not planned.is_numbered:
        return slides
    message = f"The folder of one slide holds {len(slides)} series, which are so many slides"
    ways = "give each a folder of its own, or name the folder by the patient alone"
    _refuse_slide(findings, planned, Refusal("name", f"{message}: {ways}."))
    return []


def _refuse_slide(findings: Findings, slide: SlideFile, refusal: Refusal) -> None:
    findings.refused.update(dict.fromkeys([slide.member, *slide.companions], refusal))


def _make_slide_rows(slide: SlideFile, tiles: Tiles, spool: Spool) -> pd.DataFrame:
    import pandas as pd

    shown = look_at_pixels(tiles.pixels)
    kept = np.flatnonzero(~find_blank(shown))
    pixels = tiles.pixels[kept]
    first = spool.append(pixels)
    spool.digests.append(hash_delivered_pixels(pixels))
    return pd.DataFrame(
        {
            "member": np.int32(slide.member),
            "patient": slide.patient,
            "slide": slide.slide,
            "x": tiles.xs[kept].astype(np.int32),
            "y": tiles.ys[kept].astype(np.int32),
            "label": np.int8(UNLABELLED),
            "flags": flag_delivered_pixels(shown)[kept],
            "red": shown.colours[kept, 0],
            "green": shown.colours[kept, 1],
            "blue": shown.colours[kept, 2],
            "spool_row": np.arange(first, first + len(kept), dtype=np.int32),
        }
    )


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Joins patches of files and slides in canonical order."""
    import pandas as pd

    text = [frame.astype({"patient": "str", "slide": "str"}) for frame in frames]
    joined = pd.concat(text, ignore_index=True).sort_values(["patient", "slide", "y", "x"], ignore_index=True)
    return joined.astype({"patient": "category", "slide": "category"})


@contextmanager
def _on_disk(source: Source, members: list[int], scratch: Path) -> Iterator[list[Path]]:
    """Yields paths of files that belong together, lying to each other as in the delivery."""
    with partial_folder(scratch) as folder:  # what a killed process leaves goes with the next
        paths = []
        for member in members:
            path = folder.joinpath(*PurePosixPath(source.names[member]).parts)
            if member == members[0]:
                path = path.with_suffix(path.suffix.lower())  # OpenSlide takes `.MRXS` for no slide
            path.parent.mkdir(parents=True, exist_ok=True)
            source.copy(member, path)
            paths.append(path)
        yield paths


def _hash_slide_file(path: Path) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(hash_file(path)), np.uint8)
