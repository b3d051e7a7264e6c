"""Tables are readable in a terminal of 80 columns: no word is broken, whatever hospitals are called."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from bcd.cli.screen import print_table

HOSPITAL = "universitaetsklinikum-hamburg-eppendorf-pathologie"
BATCHES = (
    [
        "batch",
        "hospital",
        "delivery",
        "admitted at",
        "patients",
        "patches",
        "IDC",
        "unlabelled",
        "refused",
        "ignored",
    ],
    ["1a2b3c4d", HOSPITAL, "lieferung-11.zip", "2026-11-29 20:33", "12", "1,234", "300", "0", "13 (2 released)", "2"],
)
MODELS = (
    ["bundle", "alias", "verdict", "snapshot", "why"],
    ["bcd-idc/12", "champion, previous", "PROMOTE", "92170023", "The challenger was loaded from the registry."],
)


def shown(header: list[str], rows: list[list[str]], width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    print_table(console, "Title", header, rows)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("header", "row"), [BATCHES, MODELS])
@pytest.mark.parametrize("width", [80, 100, 150])
def test_no_word_is_broken_and_no_line_is_longer(header: list[str], row: list[str], width: int) -> None:
    text = shown(header, [row], width)
    assert max(map(len, text.splitlines())) <= width
    for cell in [*header, *row]:
        assert all(word in text for word in cell.split()), cell


def test_what_does_not_fit_becomes_a_paragraph_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    header, row = BATCHES
    first, *others = shown(header, [row], 80).strip().splitlines()[1:]
    assert first == "batch 1a2b3c4d"
    assert all(line.startswith("   ") for line in others)
    values = dict(re.findall(r"(admitted at|[A-Za-z]+) (\S+(?: \S+)*?)(?=   |$)", "   ".join(map(str.strip, others))))
    assert values == dict(zip(header[1:], row[1:], strict=True))


def test_what_fits_is_a_table_with_figures_to_the_right() -> None:
    text = shown(["patient", "patches"], [["a", "1,234"], ["b", "5"]], 80)
    assert re.search(r"a\s+1,234\s*\n\s*b\s+5", text)
    assert len({len(line.rstrip()) for line in text.splitlines() if line.rstrip().endswith(("1,234", " 5"))}) == 1


@pytest.mark.parametrize("width", [20, 150])
def test_square_brackets_in_a_cell_are_printed(width: int) -> None:
    """Named after a defect: `.500 [n/a]` was printed as `.500`, because it was read as markup."""
    said = " ".join(shown(["metric", "pooled [bold]"], [["AUROC", ".500 [n/a]"]], width).split())
    assert ".500 [n/a]" in said
    assert "pooled [bold]" in said
