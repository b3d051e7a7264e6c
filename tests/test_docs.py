"""The documentation says what the code does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_is_reached_from_the_readme(page: Path) -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        current = waiting.pop().resolve()
        if current in reached or current.suffix != ".md" or not current.exists():
            continue
        reached.add(current)
        waiting += [current.parent / target for target in re.findall(r"\]\(([^)#:]+?)\)", current.read_text())]
    assert page.resolve() in reached


def test_every_rule_of_admission_is_listed() -> None:
    from bcd.admission.rules import FLAGS, RULES

    page = (ROOT / "docs/reference/rules.md").read_text()
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page, re.MULTILINE)) == RULES
    assert dict(re.findall(r"^- `([a-z-]+)`: (.+)$", page, re.MULTILINE)) == FLAGS


def test_every_command_is_listed() -> None:
    from bcd.cli.main import app

    page = (ROOT / "docs/reference/commands.md").read_text()
    for command in app.registered_commands:
        assert f"`bcd {command.name}" in page
    for group in app.registered_groups:
        for command in (each for each in group.typer_instance.registered_commands if not each.hidden):
            assert f"`bcd {group.name} {command.name}" in page


def test_every_target_of_make_is_listed() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    page = (ROOT / "docs/reference/commands.md").read_text()
    assert len(targets) > 10
    assert sorted(set(targets)) == sorted(set(re.findall(r"`make ([a-z-]+)", page.rpartition("| make target |")[2])))


WORDS = """patch hospital slide delivery batch refusal snapshot split protocol plan study trial architecture
test-time_augmentation policy bundle champion challenger previous gate look sign-off ledger
drift lineage certified effective_patients shadow withdrawal quarantine home reference refit level budget"""
"""The words of the design, and others of the field that the pages use."""


def test_the_glossary_has_a_row_for_every_word_of_the_design() -> None:
    page = (ROOT / "docs/reference/glossary.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    explained = [word for row in rows for word in row.split(", ")]
    assert {word.replace("_", " ") for word in WORDS.split()} - set(explained) == set()
    assert [word for word in set(explained) - {"word", "---"} if explained.count(word) > 1] == []


def test_every_page_says_research_use_only() -> None:
    assert "research" in (ROOT / "README.md").read_text().lower()
    assert "Research use only" in (ROOT / "bcd/pages/layout.html.j2").read_text()
    pages = [path for path in (ROOT / "bcd").rglob("*.html.j2") if path.parent.name != "pages"]
    assert len(pages) > 3
    assert [path.name for path in pages if not path.read_text().startswith('{% extends "layout.html.j2" %}')] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_heading_twice(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^## .+$", text, re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_contributing_says_where_code_goes() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    packages = [path.parent for path in (ROOT / "bcd").glob("*/__init__.py")]
    assert len(packages) > 10
    assert [path.name for path in packages if f"`bcd/{path.name}/`" not in page] == []
    modules = [path.name for path in (ROOT / "bcd").glob("*.py") if not path.name.startswith("_")]
    assert [name for name in modules if f"`bcd/{name}`" not in page] == []


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started/first-run.md"])
def test_the_command_after_the_demo_opens_the_home_of_the_demo(page: str) -> None:
    played = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    program, home = re.search(r"^(\S+/bcd) --home \"(.+)\" demo", played, re.MULTILINE).groups()
    [opened] = re.findall(r"^(\S+) --home (\S+) up\b", (ROOT / page).read_text(), re.MULTILINE)
    assert (opened[0], ROOT / opened[1]) == (program, Path(home))
