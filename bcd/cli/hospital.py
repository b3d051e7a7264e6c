"""`bcd hospital`: say where deliveries come from, and whether identifiers are pseudonyms."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bcd.cli.options import AsJson, By, Reason, command_group

app = command_group(
    "Say where deliveries come from, and whether identifiers are pseudonyms.",
    "bcd hospital list",
    'bcd hospital declare east --identifiers pseudonyms --by "Dr Lee" --reason "their data office confirmed it"',
)


@app.command(name="declare")
def declare_hospital_command(
    name: Annotated[str, typer.Argument(help="The hospital: letters, digits, - and _.")],
    identifiers: Annotated[
        Literal["pseudonyms", "raw"],
        typer.Option(
            help="pseudonyms: nobody can tell a patient by one. raw: bcd makes pseudonyms before it stores."
        ),
    ],
    by: By,
    reason: Reason,
) -> None:
    """Declare a hospital, once and for ever, before its first delivery."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.hospitals import declare_hospital
    from bcd.store.pseudonyms import key_path
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings, needs_home=False) as console:
        record = declare_hospital(open_store(settings), name, identifiers, sign_off)
        inbox = settings.inbox / record.hospital
        inbox.mkdir(parents=True, exist_ok=True)
        console.print(f"Hospital {record.hospital}: identifiers are {record.identifiers}.")
        console.print(f"Its deliveries go to {inbox}/.", soft_wrap=True)
        if record.identifiers == "raw":
            console.print(
                f"The key of its pseudonyms lies in {key_path(settings)} from the first delivery on:"
                " back it up, apart from BCD_HOME. Without it no later delivery is admitted.",
                soft_wrap=True,
            )


@app.command(name="allow")
def allow_hospital_command(
    name: Annotated[str, typer.Argument(help="The hospital.")],
    coarsest: Annotated[
        float, typer.Option(help="µm per pixel of the coarsest finest level that is admitted without confirmation.")
    ],
    by: By,
    reason: Reason,
) -> None:
    """Allow slides that are scanned coarser than usual, as by a microscope's camera."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.hospitals import store_coarse_limit
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        record = store_coarse_limit(open_store(settings), name, coarsest, sign_off)
        console.print(f"Hospital {record.hospital}: slides of up to {record.coarsest:g} µm/px are admitted.")


@app.command(name="list")
def list_hospitals_command(*, as_json: AsJson = False) -> None:
    """Show the declared hospitals."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.hospitals import list_hospitals
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        records = list_hospitals(open_store(settings))
        console.table(
            "Hospitals",
            records,
            {
                "hospital": lambda each: each.hospital,
                "identifiers": lambda each: each.identifiers,
                "key": lambda each: each.key_fingerprint or "",
                "µm/px": lambda each: f"{each.coarsest:g}",
                "declared": lambda each: f"{each.declared.at:%Y-%m-%d}",
                "by": lambda each: each.declared.by,
            },
        )
        if not records:
            console.print(
                "No hospital is declared yet: `bcd hospital declare NAME --identifiers pseudonyms|raw"
                " --by NAME --reason TEXT`.",
                markup=False,
            )
