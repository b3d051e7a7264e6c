"""`bcd model`: the registered versions, what became of each, and what people decide about them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bcd.cli.completion import complete_snapshot, complete_version
from bcd.cli.options import AsJson, By, DryRun, Reason, command_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bcd.cli.screen import Screen
    from bcd.gate.history import Event
    from bcd.retention.versions import Retention
    from bcd.settings import Settings
    from bcd.store.decisions import Decision
    from bcd.store.store import Store

_COLOURS = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "LOOK": "dim"}

Format = Literal["keras", "hdf5", "onnx", "openvino"]
Answer = Literal["PROMOTE", "HOLD", "REJECT"]

Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="A version, such as 3, or an alias, such as champion.",
        autocompletion=complete_version,
    ),
]

VersionOrReleased = Annotated[
    str, typer.Argument(metavar="VERSION", help="A version, such as 3, an alias, or released: that of bcd itself.")
]

app = command_group(
    "Show versions of the model, compare and export them; approve, promote, roll back, prune.",
    "bcd model list",
    "bcd model compare champion challenger",
    'bcd model approve challenger --by "Dr Lee" --reason "checked on 30 slides"',
    "bcd model export champion --format onnx --to bcd-idc.onnx",
    'bcd model adopt released --by "Dr Lee" --reason "to begin with"',
    "bcd model prune --keep 5 --dry-run",
)


@app.command(name="list")
def list_models_command(*, as_json: AsJson = False) -> None:
    """List the versions with their aliases, the gate's verdicts, and their snapshots."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        show_models(console, open_store(settings))


@app.command(name="history")
def model_history_command(
    version: Annotated[
        str, typer.Argument(help="Only what concerns this version, such as 3.", autocompletion=complete_version)
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List what happened to the versions: registered, evaluated, promoted, rolled back, and by whom."""
    from bcd.cli.terminal import open_terminal
    from bcd.gate.history import list_gate_events, list_versions_with_verdicts
    from bcd.gate.shadow import summarise_shadow
    from bcd.scoring.shadow import list_agreements
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        store = open_store(settings)
        events = list_gate_events(store, version)
        console.facts(events)
        if not events:
            console.print("Nothing has been registered or decided yet: `bcd retrain`.")
            return
        for event in events:
            _show_event(console, event)
        aliases = {alias: one.name for one in list_versions_with_verdicts(settings) for alias in one.aliases}
        now = ", ".join(f"{alias} {name}" for alias, name in sorted(aliases.items())) or "no champion"
        console.print(f"\nNow: {now}.")
        if agreements := list_agreements(store, aliases.get("challenger", "")):
            console.print(summarise_shadow(agreements), markup=False, soft_wrap=True)
        show_aliases_apart(console, store)


@app.command(name="compare")
def compare_models_command(
    a: Version,
    b: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="Another version; differences are of this one minus the first.",
            autocompletion=complete_version,
        ),
    ],
    *,
    split: Annotated[
        Literal["test", "val", "gate"], typer.Option(help="The split whose patients are compared on.")
    ] = "test",
    snapshot: Annotated[
        str,
        typer.Option(
            help="A snapshot's id, or its beginning. By default the newer version's.",
            autocompletion=complete_snapshot,
        ),
    ] = "",
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Compare two versions on the same patients: differences with intervals. Gate patients need --by and --reason."""
    from bcd.cli.screen import print_table
    from bcd.cli.terminal import open_terminal
    from bcd.evaluation.options import EvaluateOptions
    from bcd.evaluation.report.tables import difference_table
    from bcd.formats import format_level
    from bcd.gate.comparison import compare_versions
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings = load_settings()
    sign_off = SignOff(by, reason) if by or reason else None
    with open_terminal(settings, as_json=as_json) as console:
        evaluate = settings.options("evaluation", EvaluateOptions)
        found = compare_versions(
            open_store(settings), a, b, evaluate, split=split, snapshot=snapshot, sign_off=sign_off
        )
        console.facts(found)
        caption = (
            f"Snapshot {found.snapshot[:12]}, {found.n_patches:,} patches of {found.n_patients} {split} patients; "
            f"{format_level(evaluate.confidence)} intervals by patient."
        )
        table = difference_table(found.differences, caption=caption)
        print_table(console, f"{found.b} minus {found.a}", table.header, table.rows)
        console.print(caption, style="dim")
        console.print(
            "A rate rests on the patches of its denominator (recall: those labelled IDC; specificity: those labelled"
            " none), a metric that needs both classes on those of the rarer one.",
            style="dim",
        )
        if split == "val":
            console.print("Val patients chose the epoch and fitted the calibrator: they flatter.", style="yellow")


@app.command(name="adopt")
def adopt_model_command(
    model: Annotated[Literal["released"], typer.Argument(help="The model that comes with bcd.")],  # noqa: ARG001
    by: By,
    reason: Reason,
) -> None:
    """Make the model that comes with bcd the first champion of a home that has none."""
    from bcd.cli.terminal import open_terminal
    from bcd.formats import format_some
    from bcd.gate.adoption import find_adopted_patients, make_released_champion
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings, needs_home=False) as console:
        store = open_store(settings)
        decision = make_released_champion(store, sign_off)
        _show_decision(console, settings, decision)
        known = find_adopted_patients(store, decision.challenger)
        if known:
            console.print(
                f"It was trained on {len(known)} of the admitted patients, by name or by their pixels, and cannot be"
                f" evaluated on them: {format_some(known, 5)}.",
                style="yellow",
            )


@app.command(name="card")
def model_card_command(
    version: VersionOrReleased = "champion",
    to: Annotated[Path | None, typer.Option(help="An .html or .md file to write, instead of printing it.")] = None,
) -> None:
    """Print the model card of a version, or write it to a file."""
    from bcd.errors import BcdError
    from bcd.files import whole_file
    from bcd.runtime import enter_runtime
    from bcd.settings import load_settings, require_home

    if to is not None and to.suffix.lower() not in (".html", ".md"):
        raise BcdError(f"{to} is neither .html nor .md.", "Name the file as one of them.")
    settings = load_settings()
    if version == "released":
        from bcd.bundle.released.card import write_released_card

        found = write_released_card()
    else:
        require_home(settings)
        enter_runtime(settings)
        from bcd.bundle.registry import find_card

        found = find_card(settings, version)
    if to is None:
        typer.echo(found.markdown)
        return
    with whole_file(to) as partial:
        partial.write_text(found.html if to.suffix.lower() == ".html" else found.markdown, encoding="utf-8")
    typer.echo(f"{to}: the card of {version}.")


@app.command(name="export")
def export_model_command(
    version: VersionOrReleased = "champion",
    format: Annotated[Format, typer.Option(help="The kind of file.")] = "keras",  # noqa: A002
    to: Annotated[
        Path | None, typer.Option(help="The file to write. By default bcd-idc-VERSION in this folder.")
    ] = None,
) -> None:
    """Write a version as one file from raw patches to calibrated probability, checked against the bundle."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings

    settings = load_settings()
    is_released = version == "released"
    with open_terminal(settings, needs_home=not is_released) as console:
        from bcd.bundle.export.export import export_bundle
        from bcd.bundle.export.runtimes import RUNTIMES
        from bcd.bundle.registry import open_bundle_folder, require_registered_version
        from bcd.bundle.released import RELEASED, released_bundle
        from bcd.tracking.lookup import MODEL

        RUNTIMES[format].require(format)
        row = None if is_released else require_registered_version(settings, version)
        name = f"{MODEL}/{RELEASED}" if row is None else row.name
        path = to or Path(name.replace("/", "-") + RUNTIMES[format].suffix)
        with nullcontext(released_bundle()) if row is None else open_bundle_folder(settings, row) as folder:
            note = export_bundle(folder, name, format, path)
        found = ", ".join(f"{name} within {off:.1g}" for name, off in note.difference.items())
        console.print(f"{path}: {note.bundle} as {format}, compared with it on {note.probes} patches: {found}.")
        console.print(f"What goes in and comes out: {path}.json", soft_wrap=True)


@app.command(name="approve")
def approve_model_command(
    version: Version,
    by: By,
    reason: Reason,
    answer: Annotated[Answer, typer.Option(help="The answer: PROMOTE makes the version champion.")] = "PROMOTE",
) -> None:
    """Answer the gate where it proposes a promotion and asks a person."""
    from bcd.cli.terminal import open_terminal
    from bcd.gate.overrides import answer_approval
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        decision = answer_approval(open_store(settings), version, sign_off, answer)
        _show_decision(console, settings, decision)


@app.command(name="promote")
def promote_model_command(version: Version, by: By, reason: Reason) -> None:
    """Make a version champion, whatever the gate says."""
    from bcd.cli.terminal import open_terminal
    from bcd.gate.overrides import force_promotion
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        _show_decision(console, settings, force_promotion(open_store(settings), version, sign_off))


@app.command(name="rollback")
def roll_back_command(by: By, reason: Reason) -> None:
    """Make the previous champion champion again. Run it once more, with another reason, to undo that."""
    from bcd.cli.terminal import open_terminal
    from bcd.gate.overrides import roll_back
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        _show_decision(console, settings, roll_back(open_store(settings), sign_off))


@app.command(name="prune")
def prune_models_command(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest versions stay.")],
    *,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove old versions with their files. Versions with an alias, scores or another use stay."""
    from bcd.cli.terminal import open_terminal
    from bcd.retention.versions import prune_versions
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        versions = prune_versions(open_store(settings), keep=keep, dry_run=dry_run)
        console.facts(versions)
        _show_retention(console, versions, dry_run=dry_run)


def show_models(console: Screen, store: Store, key: str = "") -> None:
    """Shows the versions with the gate's verdicts, and what is lost."""
    from bcd.gate.history import list_versions_with_verdicts

    versions = list_versions_with_verdicts(store.settings)
    console.table(
        "Models",
        versions,
        {
            "bundle": lambda each: each.name,
            "alias": lambda each: ", ".join(each.aliases),
            "verdict": lambda each: each.verdict or "not at the gate yet",
            "snapshot": lambda each: each.snapshot[:8],
            "why": lambda each: _first_sentence(each.reasons),
        },
        key=key,
    )
    if not versions:
        console.print("No model is registered yet: `bcd retrain`, or `bcd model adopt released`.")
        return
    show_aliases_apart(console, store)


def _first_sentence(reasons: str) -> str:
    """Returns what a verdict says first; `bcd model history` tells the rest."""
    first, more, _ = reasons.partition(". ")
    return f"{first}." if more else first


def _show_decision(console: Console, settings: Settings, decision: Decision) -> None:
    """Prints what was recorded, and who is champion now."""
    from bcd.tracking.lookup import MODEL, find_mlflow_version
    from bcd.tracking.store import open_mlflow_client

    client = open_mlflow_client(settings)
    console.print(f"Recorded: {' '.join(decision.reasons)}")
    for alias in ("champion", "previous", "challenger", "anchor"):
        version = find_mlflow_version(client, alias)
        console.print(f"  {alias:<10} {f'{MODEL}/{version}' if version else 'none'}")


def show_aliases_apart(console: Console, store: Store) -> None:
    """Prints how the aliases are not as was decided, and what to do about it."""
    from bcd.bundle.aliases import explain_aliases
    from bcd.bundle.rows import read_registered_versions

    if told := explain_aliases(read_registered_versions(store.settings), store):
        console.print(" ".join(told), style="yellow")


def _show_event(console: Console, event: Event) -> None:
    what = {"gate": "the gate", "recheck": "evaluated again", "look": "looked at"}.get(event.what, event.what)
    verdict = f" [bold {_COLOURS[event.verdict]}]{event.verdict}[/]" if event.verdict else ""
    against = f" against {event.against}" if event.against and event.what != "registered" else ""
    gone = " [dim](no longer in the registry)[/]" if event.is_gone else ""
    when = f"{event.at:%Y-%m-%d %H:%M}"
    console.print(f"{when}  [bold]{event.version}[/]{gone} {what}{verdict}{against}")
    for reason in event.why:
        console.print(f"    {reason}", markup=False)


def _show_retention(console: Console, versions: Sequence[Retention], *, dry_run: bool) -> None:
    for one in versions:
        size = f" ({one.size / 1e6:.1f} MB)" if one.size else ""
        done = "would remove" if dry_run else "removed"
        text = f"kept: {', '.join(one.kept_for)}" if one.kept_for else f"{done} with its files{size}"
        console.print(f"{one.version}  {text}")
    if not versions:
        console.print("No version is registered.")
