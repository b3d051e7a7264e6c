"""`bcd network`: what a network is made of, what it costs, and what augmentation makes of patches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcd.cli.completion import complete_snapshot
from bcd.cli.options import AsJson, command_group

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.networks.architecture import Architecture
    from bcd.networks.cost import Latency

BATCHES = (1, 256)
"""Patches at a time for which the latency is measured: one alone, and as many as scoring takes."""

app = command_group(
    "Show networks layer by layer with what they cost, and what augmentation makes of patches.",
    "bcd network list",
    "bcd network show compact",
    "bcd network preview --to augmentation.png",
)


@app.command(name="show")
def show_network_command(
    named: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A preset, or a .toml or .json file.")
    ] = "compact",
    *,
    as_json: AsJson = False,
) -> None:
    """Show an architecture's layers, parameters, operations, and its latency on this device."""
    from bcd.cli.terminal import open_terminal
    from bcd.networks.files import load_architecture
    from bcd.settings import load_settings

    settings = load_settings()
    architecture = load_architecture(named)
    with open_terminal(settings, needs_home=False, as_json=as_json) as console:
        measured = _measure_architecture(architecture)
        console.facts(measured)
        _show_network(console, measured)


@app.command(name="list")
def list_networks_command(*, as_json: AsJson = False) -> None:
    """List the architectures that have a name, with their size; any other is described in a file."""
    from bcd.cli.terminal import open_terminal
    from bcd.networks.architecture import PRESETS, spell_out_architecture
    from bcd.settings import load_settings

    with open_terminal(load_settings(), needs_home=False, as_json=as_json) as console:
        from bcd.networks.build import build_network
        from bcd.networks.cost import measure_network_cost

        presets = []
        for name, architecture in PRESETS.items():
            cost = asdict(measure_network_cost(build_network(architecture)))
            presets.append({"name": name, "description": spell_out_architecture(architecture), **cost})
        console.table(
            "Architectures",
            presets,
            {
                "name": lambda each: str(each["name"]),
                "what it is": lambda each: str(each["description"]),
                "parameters": lambda each: f"{each['parameters']:,}",
                "MFLOPs a patch": lambda each: f"{2 * each['multiply_adds'] / 1e6:,.1f}",
            },
        )
        console.print("Any other is described in a file: `bcd network show FILE`. The default is compact.")


@app.command(name="preview")
def preview_command(
    snapshot: Annotated[
        str,
        typer.Option(
            help="A snapshot's id, or its beginning. By default the latest.", autocompletion=complete_snapshot
        ),
    ] = "",
    stain: Annotated[
        float | None, typer.Option(min=0, help="The strength of stain jitter. By default bcd.toml's.")
    ] = None,
    light: Annotated[
        float | None, typer.Option(min=0, help="The strength of light jitter. By default bcd.toml's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed that chooses the patches and augments them.")] = 1,
    to: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("augmentation.png"),
) -> None:
    """Draw some train patches as they are prepared, and each as eight epochs of a training would see it.

    Where no snapshot is frozen yet, the patches are of synthetic tissue.
    """
    from bcd.cli.augmentation import TIMES, choose_preview_patches, draw_preview, preview_augmentation
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError
    from bcd.settings import load_settings
    from bcd.training.options import TrainOptions

    settings = load_settings()
    training = settings.options("training", TrainOptions, stain_jitter=stain, light_jitter=light)
    stain, light = training.stain_jitter, training.light_jitter
    if to.suffix.lower() != ".png":
        raise BcdError(f"{to} is no name of a PNG.", "Let --to end in .png.")
    with open_terminal(settings, needs_home=False) as console:
        pixels, labels, source = choose_preview_patches(settings, snapshot, seed)
        note = f"{len(pixels)} {source}; each as prepared, then as {TIMES} epochs of a training would see it"
        strengths = f"stain jitter {stain:g}, light jitter {light:g}, seed {seed}"
        augmented = preview_augmentation(pixels, stain, light, seed)
        draw_preview(to, augmented, labels, title=f"Augmentation: {strengths}", note=note)
        console.print(f"{len(pixels)} {source}: {strengths}")
        console.print(f"Written to {to.absolute()}", soft_wrap=True)


def _measure_architecture(architecture: Architecture) -> dict[str, Any]:
    """Builds the network and returns all that is told of it."""
    from bcd.networks.architecture import describe_architecture
    from bcd.networks.build import build_network
    from bcd.networks.cost import measure_network_cost, measure_network_latency, measure_network_layers, name_device
    from bcd.progress import track_progress

    network = build_network(architecture)
    cost = measure_network_cost(network)
    with track_progress("Measuring latency", total=len(BATCHES)) as advance:
        latencies = []
        for batch_size in BATCHES:
            latencies.append(_tell_latency(measure_network_latency(network, batch_size)))
            advance(1)
    return {
        "description": describe_architecture(architecture),
        "architecture": architecture.model_dump(),
        "layers": [asdict(layer) for layer in measure_network_layers(network)],
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "flops": cost.flops,
        "device": name_device(),
        "latency": latencies,
    }


def _tell_latency(latency: Latency) -> dict[str, float]:
    return {**asdict(latency), "patches_per_second": latency.patches_per_second}


def _show_network(console: Console, measured: dict[str, Any]) -> None:
    from bcd.cli.screen import print_table

    header = ["layer", "kind", "output", "parameters", "multiply-adds"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["shape"])),
            *(f"{layer[key]:,}" if layer[key] else "" for key in ("parameters", "multiply_adds")),
        ]
        for layer in measured["layers"]
    ]
    rows.append(["in all", "", "", f"{measured['parameters']:,}", f"{measured['multiply_adds']:,}"])
    print_table(console, f"Architecture: {measured['description']}", header, rows)
    console.print(
        f"{measured['parameters']:,} parameters, {measured['flops'] / 1e6:,.1f} MFLOPs a patch (two a multiply-add;"
        " convolutions and dense layers).",
    )
    latency_rows = [
        [f"{each['batch_size']}", f"{each['milliseconds']:,.1f}", f"{each['patches_per_second']:,.0f}"]
        for each in measured["latency"]
    ]
    title = f"Latency on {measured['device']}"
    print_table(console, title, ["patches at a time", "ms", "patches/s"], latency_rows)
