"""`bcd review`: which patches a person should look at, as a list to fill in, and the answers back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.label import import_label_file
from bcd.cli.options import AsJson, By, Reason, command_group

if TYPE_CHECKING:
    import pandas as pd

    from bcd.cli.screen import Screen
    from bcd.review.gather import Gathered

app = command_group(
    "Ask a person about patches: which to label next, which labels look wrong; and take the answers in.",
    "bcd review next --patches 100 --to monday",
    'bcd review import monday/patches.csv --by "Dr Lee" --reason "the queue of Monday"',
)

Patches = Annotated[int, typer.Option(min=1, max=2000, help="How many patches at most.")]
To = Annotated[Path, typer.Option(help="A new folder for contact sheet, table and GeoJSON.")]


@app.command(name="next")
def review_next_command(*, to: To, patches: Patches = 100, as_json: AsJson = False) -> None:
    """List the patches without a label that are worth most to the next training: train patients' only."""
    from bcd.cli.terminal import open_terminal
    from bcd.review.gather import gather_unlabelled
    from bcd.review.queue import pick_patches, tell_why
    from bcd.review.sheet import require_new_folder, write_review
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    require_new_folder(to)
    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console, open_store(settings) as store:
        found = gather_unlabelled(store)
        picked = found.patches.iloc[pick_patches(found.patches, patches)]
        if not picked.empty:
            picked = picked.assign(why=tell_why(picked))
            write_review(store, to, "next", picked, found.stored)
        _print_review(console, to, picked, patches, found)


@app.command(name="suspicious")
def review_suspicious_command(*, to: To, patches: Patches = 100, as_json: AsJson = False) -> None:
    """List the labels of train patients that a model contradicts most which never saw the patient."""
    from bcd.cli.terminal import open_terminal
    from bcd.review.gather import gather_labelled
    from bcd.review.sheet import require_new_folder, write_review
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    require_new_folder(to)
    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console, open_store(settings) as store:
        found = gather_labelled(store)
        picked = found.patches.iloc[:patches]
        if not picked.empty:
            write_review(store, to, "suspicious", picked, found.stored)
        _print_review(console, to, picked, patches, found)


@app.command(name="import")
def review_import_command(
    file: Annotated[Path, typer.Argument(help="patches.csv with answers, or a GeoJSON of slides/ with classes.")],
    by: By,
    reason: Reason,
) -> None:
    """Revise labels by a list that `bcd review` wrote and a person answered, all of it or nothing."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        import_label_file(console, settings, file, sign_off, asked=True)


def _print_review(console: Screen, to: Path, picked: pd.DataFrame, wanted: int, found: Gathered) -> None:
    many = len(found.patches)
    asked = json.loads(picked.to_json(orient="records"))  # which writes what is missing as null
    console.facts({"to": None if picked.empty else to, "patches": asked, "of": many, "left_out": found.left_out})
    if picked.empty:
        console.print("There is no patch to ask about.")
    else:
        sheet = to / "contact-sheet.html"
        console.print(f"{len(picked):,} of the {many:,} patches that may be asked about: {sheet}", soft_wrap=True)
    if len(picked) < min(wanted, many):
        console.print("No other patch lies apart from these on its slide.")
    for reason, count in found.left_out.items():
        console.print(f"{count:,} scored patches {reason}.", style="dim")
