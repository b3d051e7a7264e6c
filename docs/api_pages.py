"""A hook of MkDocs: pages that are made, and pages of the repository that lie outside this folder.

The card of the released model is a page. Each module of bcd has one in the reference, made from its docstrings: a
public module, class or function without a docstring is told as a warning, and the site is built in strict mode.
"""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FOLDER = "reference/api"
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "mlflow/README.md": "how-to/mlflow-server.md",
}
"""Pages that lie elsewhere in the repository, and their places in the site."""

CARD = "reference/released-model.md"
"""The page of the released model's card, made from its figures."""

log = logging.getLogger("mkdocs.hooks.api")

_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each public module, and one that lists them."""
    lines = ["# The Python interface", "", "| module | what it is for |", "| --- | --- |"]
    for path in sorted((ROOT / "bcd").rglob("*.py")):
        name = _module_name(path)
        if (path.name.startswith("_") and path.name != "__init__.py") or ".migrations" in name:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for undocumented in _find_undocumented(tree, name):
            log.warning("%s has no docstring.", undocumented)
        summary = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append(f"| [`{name}`]({name}.md) | {summary} |")
        page = f"# `{name}`\n\n::: {name}\n"
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=page))
    files.append(File.generated(config, f"{FOLDER}/index.md", content="\n".join(lines) + "\n"))
    files.append(File.generated(config, CARD, content=_write_card()))
    for path, place in OUTSIDE.items():
        text = (ROOT / path).read_text("utf-8").replace("](docs/", "](").replace("](../docs/", "](../")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' names
    """Points links to pages outside this folder at their places in the site."""
    here = Path("docs", page.file.src_uri).parent
    for path, place in OUTSIDE.items():
        link = os.path.relpath(path, here)
        there = os.path.relpath(place, here.relative_to("docs"))
        markdown = markdown.replace(f"]({link})", f"]({there})").replace(f"]({link}#", f"]({there}#")
    return markdown


def _write_card() -> str:
    from bcd.bundle.released.card import write_released_card
    from bcd.errors import BcdError

    try:
        return write_released_card().markdown
    except BcdError as error:  # a checkout from before the model was trained
        return f"# Model card\n\n{error}\n"


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _find_undocumented(tree: ast.Module, name: str) -> Iterator[str]:
    """Yields the public names of a module, itself included, that have no docstring."""
    if ast.get_docstring(tree) is None:
        yield name
    for node in tree.body:
        if not isinstance(node, _Documented) or node.name.startswith("_") or _is_overload(node):
            continue
        if ast.get_docstring(node) is None:
            yield f"{name}.{node.name}"


def _is_overload(node: _Documented) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
