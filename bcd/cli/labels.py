"""`bcd labels`: labels that come late, are corrected, or are taken back, and patches that are in doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcd.cli.options import AsJson, By, Reason, command_group

app = command_group(
    "Import labels and corrections; show patches that are in doubt.",
    'bcd labels import labels.csv --hospital east --by "Dr Lee" --reason "second reading"',
    "bcd labels doubts",
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
    from bcd.errors import BcdError
    from bcd.settings import load_settings
    from bcd.store.annotated import import_annotated_labels
    from bcd.store.annotations import SUFFIXES
    from bcd.store.options import LabelOptions
    from bcd.store.revisions import import_labels
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        store = open_store(settings)
        if file.suffix.lower() in SUFFIXES:
            drawn = import_annotated_labels(
                store,
                file,
                settings.options("labels", LabelOptions),
                hospital=hospital or None,
                patient=patient or None,
                slide=slide or None,
                sign_off=sign_off,
            )
            console.print(
                f"Patches under the annotations: {drawn.positive:,} IDC, {drawn.negative:,} no IDC, {drawn.mixed:,}"
                f" between the two, {drawn.contradicted:,} under both classes. Nothing is said of {drawn.silent:,}"
                f" other patches of the slide. {drawn.others:,} objects are no annotations and were passed over.",
                soft_wrap=True,
            )
            done = drawn.labels
        elif patient or slide:
            raise BcdError(
                f"--patient and --slide are for annotations, and {file.name} is a table, which names its patches.",
                "Leave them out, or give a file that ends in .geojson.",
            )
        else:
            done = import_labels(store, file, hospital=hospital or None, sign_off=sign_off)
        changes = "Nothing changes" if not done.changed and not done.settled else f"{done.changed:,} labels changed"
        console.print(
            f"{changes}: {done.taken_back:,} taken back, {done.settled:,} doubts settled, {done.unchanged:,} were as"
            f" said. {done.match.unmatched:,} of {done.match.rows:,} rows name no patch;"
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
