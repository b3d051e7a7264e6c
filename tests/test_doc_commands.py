"""Every command that a page or a message names runs, or is at least accepted.

- **Run**, each on a copy of one small home, which has no model: what reads or changes the store (`RUN`).
- **Accepted**: the words of every other `bcd` command, those in messages and docstrings of the code too, are read by
  the command itself, and its function is not called, for the reason in `ACCEPTED`. A command in prose may leave out
  what it needs; one in a block or in the list of commands may not.
- **Planned** by make (`make -n`): every target, with its variables.
- **Run at toy size**: the benchmarks in `TOY`. The others train networks or simulate for minutes at any size: of all,
  every option that a page or the benchmark itself names is known, and `--help` answers.
- **Neither**: other programs (`OTHERS`).
"""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from delivering import encode, patch_files, write_folder

from bcd.admission.admit import admit
from bcd.cli.main import app, main
from bcd.config import load_configuration
from bcd.patches import Hospital
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHER_PAGES = [
    ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deployment.yaml", "mlflow/README.md")
]
CODE = sorted(path for folder in ("bcd", "flows", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
TEMPLATES = sorted((ROOT / "bcd").rglob("*.j2"))
BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "ArgumentParser(" in path.read_text())
BLANK = "8867_idx5_x901_y901_class0.png"

RUN = {
    "batch list",
    "batch refusals",
    "batch show",
    "batch release",
    "config show",
    "hospital allow",
    "hospital declare",
    "hospital list",
    "label doubts",
    "label import",
    "model history",
    "model list",
    "model prune",
    "monitor",
    "network list",
    "network preview",
    "network show",
    "patient complete",
    "patient erase",
    "patient list",
    "patient show",
    "patient withdraw",
    "snapshot diff",
    "snapshot list",
    "snapshot show",
    "status",
    "upgrade",
}
TRAINED = "trains networks, or needs one that is registered: tests/integration/test_demo.py, tests/bundle, tests/gate"
SERVED = "starts servers or a flow: tests/integration/test_servers.py, tests/cli"
ACCEPTED = {
    **dict.fromkeys(["demo", "search", "train", "retrain"], TRAINED),
    **dict.fromkeys(["evaluate", "score"], TRAINED),
    **dict.fromkeys(
        [f"model {verb}" for verb in ("adopt", "approve", "card", "compare", "export", "promote", "rollback")],
        TRAINED,
    ),
    **dict.fromkeys([f"review {verb}" for verb in ("import", "next", "suspicious")], "tests/cli/test_review.py"),
    "patient export": "needs a scored patient: tests/cli/test_patient_export.py",
    "lineage": "of reports and versions: tests/lineage",
    **dict.fromkeys(["up", "down", "ingest", "doctor", "worker"], SERVED),
    "store push": "needs a bucket: tests/cli/test_store.py",
    **dict.fromkeys(
        ["backup", "restore"], "writes to another disk: tests/cli/test_backup.py, tests/retention/backup"
    ),
}
OTHERS = ("cp", "curl", "echo", "export", "mlflow", "mv", "opt_in_out", "pip", "source", "sudo", "umask")
TOY = {
    "admission": ["--patches", "200", "--turns", "1"],
    "evaluation": ["--patches", "2000", "--resamples", "100", "--looped", "1"],
    "simulations_intervals": ["--share", "0.002"],
    "slides": ["--width", "1200", "--height", "1000"],
    "snapshots": ["--patches", "300"],
}

MEANS = {
    "A": "FIRST",
    "B": "SECOND",
    "BATCH": "monday",
    "C": "probability",
    "CODE": "blank",
    "DELIVERY": "monday",
    "H": "1",
    "ID": "FIRST",
    "N": "1",
    "NAME": "east",
    "P": "0.1",
    "PATIENT": "8867",
    "VERSION": "2",
    "X": "1",
    "µm/px": "2",
}
"""What the capitals of the pages stand for; FIRST and SECOND are snapshots of the home."""
MEANS_IN = {
    "batch release": {"FILE": BLANK},
    "evaluate": {"RANGE": "0..255"},
    "hospital declare": {"NAME": "west"},
    "label import": {"FILE": "labels.csv"},
    "network show": {"NAME": "compact", "FILE": "mine.toml"},
    "patient complete": {"S": "5"},
    "patient export": {"S": "5"},
    "patient list": {"S": "gate"},
    "train": {"NAME": "compact"},
}


@dataclass(frozen=True)
class Named:
    """A command as a page names it; in full: with all that it needs."""

    text: str
    page: str
    in_full: bool


def read_commands() -> Iterator[Named]:
    """Reads the blocks without a language, line by line, and the code within the text of every page."""
    for page in PAGES:
        language: str | None = None
        for line in page.read_text().splitlines():
            if line.startswith("```"):
                language = line[3:] if language is None else None
            elif language == "" and line.strip():
                # What the command is for stands after a number sign, or in a second column.
                yield Named(re.split(r"\s#\s|(?<=\w)\s{4,}", line.strip())[0].strip(), page.name, in_full=True)
            elif language is None:
                in_full = page.name == "commands.md" and line.startswith("|")
                found = re.findall(r"`([^`]+)`", line)
                yield from (Named(text, page.name, in_full) for text in found if COMMAND.match(text))


def read_advice() -> Iterator[Named]:
    """Reads the commands that the code names, in what it says and in its docstrings: what a name stands for is X."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "whole_command":
                words = [one.value if isinstance(one, ast.Constant) else "X" for one in node.args[1:]]
                text = f"bcd {' '.join(map(str, words))}"
            else:
                continue
            found = [text] if TYPED.match(text) else re.findall(r"`(bcd (?:--home |[a-z])[^`]+)`", text)
            yield from (Named(each, path.name, in_full=False) for each in found if COMMAND.match(each))
    for path in [*OTHER_PAGES, *TEMPLATES]:
        for each in re.findall(r"(?:`|<code>)(bcd [a-z][^<`]+)(?:`|</code>)", path.read_text()):
            yield Named(re.sub(r"\{\{.*?\}\}", "X", each), path.name, in_full=False)


COMMAND = re.compile(r"([A-Z_]+=\S+ )*(\.venv/bin/)?(bcd [-a-z]|(make|python|mlflow|pip|source) \S|benchmarks/\w)")
TYPED = re.compile(rf"bcd (--home \S+ )?({'|'.join(typer.main.get_command(app).commands)})\b")  # type: ignore[attr-defined]
COMMANDS = list(read_commands())


def expand(text: str) -> set[str]:
    """Returns what the notation of the pages stands for: with and without [options], and each of a|b."""
    text = text.replace("…", "").replace("...", "").replace("\\|", "|")
    short = text
    while (shorter := re.sub(r"\s*\[[^][]*\]", "", short)) != short:
        short = shorter
    found = set()
    for each in (short, re.sub(r"[][]", "", text)):
        choices = [word.split("|") for word in each.split(" ")]
        for number in range(max(len(choice) for choice in choices)):
            found.add(" ".join(choice[number % len(choice)] for choice in choices))
    return found


def words_of(text: str) -> list[str]:
    """Returns the words after `bcd` and its home, without a redirection."""
    words = shlex.split(text.split(" > ", maxsplit=1)[0])
    words = words[next(i for i, word in enumerate(words) if word.endswith("bcd")) + 1 :]
    return words[2:] if words[0] == "--home" else words


BCD: Any = typer.main.get_command(app)  # made once: it takes a second


def find_command(words: list[str]) -> tuple[str, Any, list[str]]:
    """Finds the command that words name; returns its name, itself, and the words that are left for it."""
    command, name = BCD, []
    while words and words[0] in getattr(command, "commands", {}):
        name.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return " ".join(name), command, words


OF_BCD = [each for each in COMMANDS if re.search(r"\bbcd (--home \S+ )?[a-z]", each.text)]
MENTIONED = sorted({text for each in [*OF_BCD, *read_advice()] for text in expand(each.text)})
IN_FULL = sorted({text for each in OF_BCD if each.in_full for text in expand(each.text)})


def name_of(text: str) -> str:
    return find_command(words_of(text))[0]


def put_in(text: str, home: Callable[[str], str] = str) -> list[str]:
    """Returns the words of a command with what its capitals stand for."""
    means = MEANS | MEANS_IN.get(name_of(text), {})
    return [home(means.get(word, word)) for word in words_of(text)]


def test_pages_name_commands_of_known_kinds_only() -> None:
    assert [each for each in COMMANDS if not COMMAND.match(each.text) and not each.text.startswith(OTHERS)] == []
    assert {name_of(text) for text in IN_FULL} == RUN | set(ACCEPTED), "say which: RUN or ACCEPTED"


@pytest.mark.parametrize("text", MENTIONED)
def test_the_command_accepts_the_words(text: str) -> None:
    name, command, words = find_command(put_in(text))
    assert not hasattr(command, "commands") or not words or words[0].startswith("-"), f"no command {words[0]}"
    left_out = set() if text in IN_FULL else {"BadOptionUsage", "MissingParameter", "NoArgsIsHelpError"}
    try:
        command.make_context(name, words)
    except Exception as error:
        if type(error).__name__ not in left_out:
            raise


@dataclass(frozen=True)
class Home:
    """A small home with two snapshots, and a folder with what commands are given."""

    path: Path
    folder: Path
    snapshots: Mapping[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path, folder = tmp_path_factory.mktemp("made") / "home", tmp_path_factory.mktemp("given")
    settings = load_configuration(path)
    store = open_store(settings)
    declare_hospital(store, "east", "pseudonyms", SignOff("a test", "test"))
    snapshots = {}
    for name, day, first in (("FIRST", "monday", 8860), ("SECOND", "tuesday", 9000)):
        deliver(folder / day, first)
        admit(store, folder / day, Hospital("east"))
        snapshots[name] = freeze_snapshot(store, SplitOptions()).id
    store.engine.dispose()
    (folder / "labels.csv").write_text("hospital,name,label\neast,8867_idx5_x1_y1_class0.png,1\n")
    ring = [[0, 0], [100, 0], [100, 50], [0, 50], [0, 0]]
    named = {"objectType": "annotation", "name": "east/8867_idx5_x1_y1", "classification": {"name": "Tumor"}}
    area = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": named}
    (folder / "8867.geojson").write_text(json.dumps(area))
    toml = re.search(r"```toml\n(.+?)```", (ROOT / "docs/reference/architecture.md").read_text(), re.DOTALL)
    (folder / "mine.toml").write_text(toml[1])
    return Home(path, folder, snapshots)


def deliver(folder: Path, first: int) -> None:
    """Writes 24 patients of four patches, and one blank patch."""
    files = {BLANK.replace("8867", str(first + 7)): encode(np.full((50, 50, 3), 255, np.uint8))}
    for patient in range(first, first + 24):
        files |= patch_files(str(patient), range(4 * patient, 4 * patient + 4))
    write_folder(folder, files)


@pytest.mark.parametrize("text", [text for text in IN_FULL if name_of(text) in RUN and "VERSION" not in text])
@pytest.mark.usefixtures("prefect_server")  # `monitor` would start one of its own
def test_the_command_runs(
    text: str, made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.path, tmp_path / "home")
    monkeypatch.setenv("BCD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(sys, "argv", ["bcd", *put_in(text, lambda word: made.snapshots.get(word, word))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, "".join(capsys.readouterr())


AS_JSON = {
    name_of(text): text
    for text in sorted(IN_FULL, key=lambda text: (len(text), text), reverse=True)
    if name_of(text) in RUN
    and "--to" not in text
    and "as_json" in {option.name for option in find_command(words_of(text))[1].params}
}
"""Of each command the shortest form."""


@pytest.mark.parametrize("name", AS_JSON)
@pytest.mark.usefixtures("prefect_server")
def test_the_command_prints_json_and_nothing_else(
    name: str, made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.path, tmp_path / "home")
    monkeypatch.setenv("BCD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(made.folder)
    words = put_in(AS_JSON[name], lambda word: made.snapshots.get(word, word))
    monkeypatch.setattr(sys, "argv", ["bcd", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    told, complained = capsys.readouterr()
    assert (ended.value.code or 0, complained) == (0, "")
    assert isinstance(json.loads(told), list | dict)


@pytest.mark.parametrize("text", sorted({each.text for each in COMMANDS if each.text.startswith("make ")}))
def test_make_knows_the_target(text: str) -> None:
    planned = ["make", "-n", *shlex.split(text)[1:]]
    done = subprocess.run(planned, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_benchmark_knows_the_options_that_pages_and_itself_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert not ended.value.code
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.rpartition("options:")[2]))
    named = [path.read_text().split('"""')[1], *(each.text for each in COMMANDS)]
    used = re.findall(rf"benchmarks/{path.name}([^#\n`]*)", "\n".join(named))
    assert set(re.findall(r"--[a-z-]+", " ".join(used))) <= options


@pytest.mark.parametrize("name", TOY)
def test_the_benchmark_runs_at_toy_size(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *TOY[name]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    # 1: a limit is missed, which at this size says nothing.
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", ["benchmarks", "flows"])
def test_no_script_has_the_name_of_a_library(folder: str) -> None:
    # Its folder comes first on the path: `benchmarks/statistics.py` was imported instead of Python's own.
    scripts = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert not scripts & (sys.stdlib_module_names | set(packages_distributions()))
