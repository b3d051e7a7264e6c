"""Whether the statistics hold, on made-up patients whose truth is known; fills docs/explanation/statistics.md.

Every section is a module of its own with `report() -> str`: `simulations_intervals`, `simulations_thresholds` (with
the calibrator) and `simulations_gate`.

    .venv/bin/python benchmarks/simulations.py                    # all three
    .venv/bin/python benchmarks/simulations.py --only intervals   # about 10 minutes of one core
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from pathlib import Path

from bcd.files import whole_file

PAGE = Path(__file__).parents[1] / "docs/explanation/statistics.md"
SECTIONS = ("intervals", "thresholds", "gate")


def main() -> None:
    """Prints each section and puts it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SECTIONS, help="run this section (default: all)")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown page whose sections are replaced")
    arguments = parser.parse_args()
    for section in [arguments.only] if arguments.only else SECTIONS:
        started = time.process_time()
        found: str = import_module(f"simulations_{section}").report().strip()
        print(f"{found}\n\n[{section}: {time.process_time() - started:.0f} s of processor time]\n", flush=True)
        page = replace_section(arguments.page.read_text(encoding="utf-8"), section, found)
        with whole_file(arguments.page) as partial:
            partial.write_text(page, encoding="utf-8")


def replace_section(page: str, section: str, found: str) -> str:
    """Returns the page with what stands between the section's two marks replaced."""
    begin, end = f"<!-- {section}: measured -->", f"<!-- {section}: end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{found}\n\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    main()
