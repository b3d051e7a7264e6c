"""The code that a bundle carries, so that it scores where bcd is not installed: what scoring imports, and no more.

Examples:
    >>> "bcd.bundle.scorer" in _find_modules(), "bcd.cli.main" in _find_modules()
    (True, False)
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_START = "bcd.bundle.scorer"


def copy_code_into_bundle(folder: Path) -> Path:
    """Copies the modules that scoring needs as a package.

    Returns:
        The package's folder, `folder/bcd`.
    """
    for module in _find_modules():
        source = _find_module_file(module)
        target = folder / source.relative_to(_ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return folder / "bcd"


@cache
def _find_modules() -> tuple[str, ...]:
    """Returns the modules of bcd that scoring imports, directly or through others, at once or when called."""
    found: set[str] = set()
    waiting = [_START]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _list_imported_modules(module)
            waiting += [module.rpartition(".")[0]] if "." in module else []
    return tuple(sorted(found))


def _list_imported_modules(module: str) -> Iterator[str]:
    waiting: list[ast.AST] = [ast.parse(_find_module_file(module).read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "bcd":
            yield node.module
            inner = (f"{node.module}.{name.name}" for name in node.names)
            yield from (name for name in inner if _find_module_file(name).exists())
        waiting += ast.iter_child_nodes(node)


def _find_module_file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
