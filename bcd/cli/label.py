"""`bcd label`: labels that come late, are corrected, or are taken back, and patches that are in doubt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.options import AsJson, By, Reason, command_group

if TYPE_CHECKING:
    from bcd.cli.screen import Screen
    from bcd.settings import Settings
    from bcd.store.sign_off import SignOff

app = command_group(
    "Import labels and corrections; show patches that are in doubt.",
    'bcd label import labels.csv --hospital east --by "Dr Lee" --reason "second reading"',
    "bcd label doubts",
)


@app.command(name="import")
def import_labels_command(  # noqa: PLR0917 - they are options
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: patient, slide, x, y (or name), label, hospital; or a slide's annotations: GeoJSON."
        ),
    ],
    by: By,
    reason: Reason,
    hospital: Annotated[str, typer.Option(help="The hospital, where the file does not name it.")] = "",
    patient: Annotated[
        str, typer.Option(help="The patient whose slide is annotated, where the GeoJSON does not name it.")
    ] = "",
    slide: Annotated[str, typer.Option(help="The annotated slide, where the GeoJSON does not name it.")] = "",
) -> None:
    """Revise labels by a file, all of it or nothing. The latest revision of a label counts."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        import_label_file(console, settings, file, sign_off, hospital=hospital, patient=patient, slide=slide)


def import_label_file(
    console: Screen,
    settings: Settings,
    file: Path,
    sign_off: SignOff,
    *,
    hospital: str = "",
    patient: str = "",
    slide: str = "",
    asked: bool = False,
) -> None:
    """Imports a table or annotations, and says what became of the labels.

    Args:
        console: Where to.
        settings: Where the store is.
        file: CSV, Parquet or GeoJSON.
        sign_off: Who says so, and why.
        hospital: The hospital, where the file does not name it.
        patient: The patient of annotations that do not name it.
        slide: The slide likewise.
        asked: Whether it is a list of `bcd review` with answers.

    Raises:
        BcdError: The file is refused.
    """
    from bcd.errors import BcdError
    from bcd.store.annotated import import_annotated_labels
    from bcd.store.annotations import SUFFIXES
    from bcd.store.options import LabelOptions
    from bcd.store.revisions import import_labels
    from bcd.store.store import open_store

    with open_store(settings) as store:
        if file.suffix.lower() in SUFFIXES:
            drawn = import_annotated_labels(
                store,
                file,
                settings.options("labels", LabelOptions),
                hospital=hospital or None,
                patient=patient or None,
                slide=slide or None,
                sign_off=sign_off,
                asked=asked,
            )
            others = "are not answered" if asked else "are no annotations"
            console.print(
                f"Patches under the annotations: {drawn.positive:,} IDC, {drawn.negative:,} no IDC, {drawn.mixed:,}"
                f" between the two, {drawn.contradicted:,} under both classes. Nothing is said of {drawn.silent:,}"
                f" other patches of the slide. {drawn.others:,} objects {others} and were"
                " passed over.",
                soft_wrap=True,
            )
            done = drawn.labels
        elif patient or slide:
            raise BcdError(
                f"--patient and --slide are for annotations, and {file.name} is a table, which names its patches.",
                "Leave them out, or give a file that ends in .geojson.",
            )
        else:
            done = import_labels(store, file, hospital=hospital or None, sign_off=sign_off, asked=asked)
    changes = "Nothing changes" if not done.changed and not done.settled else f"{done.changed:,} labels changed"
    confirmed = f"{done.confirmed:,} confirmed, " if asked else ""
    console.print(
        f"{changes}: {done.taken_back:,} taken back, {confirmed}{done.settled:,} doubts settled, {done.unchanged:,}"
        f" were as said. {done.match.unmatched:,} of {done.match.rows:,} rows name no patch;"
        f" {done.unlabelled:,} patches of these hospitals are without a label.",
        soft_wrap=True,
    )
    if done.match.note:
        console.print(done.match.note, style="yellow", soft_wrap=True, markup=False)


@app.command(name="doubts")
def list_doubts_command(*, as_json: AsJson = False) -> None:
    """Show the patches that a later delivery made doubtful; a label import settles them."""
    from bcd.cli.terminal import open_terminal
    from bcd.patches import PatchName
    from bcd.settings import load_settings
    from bcd.store.conflicts import list_conflicts
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        found = [each for each in list_conflicts(open_store(settings)) if each.is_open]
        console.table(
            "In doubt",
            found,
            {
                "hospital": lambda each: each.hospital,
                "patch": lambda each: PatchName(each.patient, each.slide, each.x, each.y, None).format(),
                "rule": lambda each: each.rule,
                "since": lambda each: f"{each.found_at:%Y-%m-%d}",
                "why": lambda each: each.message,
            },
        )
        if not found:
            console.print("No patch is in doubt.")
