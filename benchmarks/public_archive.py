"""What the public archive takes until patches can be trained on: time, memory and disk of each step.

    .venv/bin/python benchmarks/public_archive.py --real FOLDER [--patches 277524] [--scratch FOLDER --keep]

The archive is made, of the size and shape of the one that is downloaded: 279 patients, those of the published lists
by their names, and every patch twice, in `PATIENT/LABEL/` and again under `IDC_regular_ps50_idx5/`. Each step is a
process of its own, whose memory is meant without mapped files. FOLDER holds zips of real patches; without it they are
drawn.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import made_patches
from admission_measures import run
from made_patches import Base
from snapshots import STEPS

from bcd.files import whole_file
from bcd.snapshots.splits import published_list

PATIENTS = 279
PATCHES = 277_524
AGAIN = "IDC_regular_ps50_idx5"


def main() -> None:
    """Prints a row a step, then the disk that the home takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=PATCHES, help="each is there twice (default 277,524)")
    parser.add_argument("--real", type=Path, help="folder of zips of real patches to make others of")
    parser.add_argument("--scratch", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the archive in --scratch for the next run")
    arguments = parser.parse_args()
    keeps = arguments.keep and arguments.scratch is not None
    with nullcontext(arguments.scratch) if keeps else tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        measure(Path(scratch), arguments.real, arguments.patches)


def measure(scratch: Path, real: Path | None, patches: int) -> None:
    """Makes the archive, unless it is there, and takes every step once."""
    archive = scratch / f"archive-{patches}.zip"
    if not archive.exists():
        write_archive(archive, made_patches.read_base(real) if real else made_patches.draw_base(), patches)
    print(f"{archive.name}: {2 * patches:,} files, {archive.stat().st_size / 1e9:.2f} GB\n")
    print(f"{'step':>8s}{'seconds':>9s}{'processor':>11s}{'before MB':>11s}{'peak MB':>9s}")
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        for step in ("memory", *STEPS):
            taken = run(step, archive, scratch, Path(home))
            assert taken.get("admitted", patches) == patches, taken
            name = "admit" if step == "memory" else step
            used = f"{taken['processor']:.1f}" if "processor" in taken else ""
            print(
                f"{name:>8s}{taken['seconds']:9.1f}{used:>11s}{taken['before']:11,.0f}{taken['peak']:9,.0f}",
                flush=True,
            )
        size = sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file())
        print(f"\nThe home takes {size / 1e9:.2f} GB; {shutil.disk_usage(scratch).free / 1e9:.0f} GB are free.")


def write_archive(path: Path, base: Base, patches: int) -> None:
    """Writes an archive of the public set's shape.

    Args:
        path: The zip.
        base: What patches are made of.
        patches: How many, each twice.
    """
    with whole_file(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, data in made_patches.make(base, patches, list_patients()):
                archive.writestr(name, data)
        with (
            zipfile.ZipFile(partial) as first,
            zipfile.ZipFile(partial, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for name in first.namelist():
                archive.writestr(f"{AGAIN}/{name}", first.read(name))


def list_patients() -> list[str]:
    """Returns 279 patients: the published lists', and made-up ones for those who are in none."""
    listed = sorted(set().union(*(published_list(name) for name in ("train", "val", "test"))))
    return [*listed, *(str(20_000 + number) for number in range(PATIENTS - len(listed)))]


if __name__ == "__main__":
    main()
