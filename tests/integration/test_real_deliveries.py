"""The five development deliveries: one by one, once more, and all at once end in the same catalog."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

DELIVERIES = sorted((Path(__file__).parents[2].parent / "shared/data/batches").glob("*.zip"))
IDC = Hospital("idc")

ADMIT = """
import sys
from pathlib import Path
from bcd.admission.admit import admit
from bcd.settings import load_settings
from bcd.store.store import open_store
settings = load_settings(Path(sys.argv[1]))
admit(open_store(settings), Path(sys.argv[2]), "idc")
"""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.real_data,
    pytest.mark.skipif(len(DELIVERIES) != 5, reason="needs the five development deliveries"),
]


def _home(path: Path) -> Settings:
    settings = load_settings(path)
    declare_hospital(open_store(settings), IDC, "pseudonyms", SignOff("test", "test"))
    return settings


def _content(settings: Settings) -> dict[str, set[tuple[object, ...]]]:
    """All that the catalog says, but for times and the numbers that follow the order of admission."""
    content: dict[str, set[tuple[object, ...]]] = {}
    with open_store(settings).engine.connect() as connection:
        for table in (tables.deliveries, tables.refusals, tables.patches, tables.patients, tables.conflicts):
            left_out = {"admitted_at", "number", "batch", "first_batch"}
            columns = [column for column in table.c if column.name not in left_out]
            rows = connection.execute(sa.select(*columns)).mappings()
            content[table.name] = {tuple(repr(_regardless_of_order(*each)) for each in row.items()) for row in rows}
        content["batches"] = {tuple(row) for row in connection.execute(sa.select(tables.batches.c.id))}
    content["folders"] = {(path.name,) for path in settings.batches.iterdir()}
    return content


def _regardless_of_order(column: str, value: Any) -> Any:
    """Leaves out the flag `stain`: it tells a slide from those that the hospital delivered before it."""
    return {flag: n for flag, n in value.items() if flag != "stain"} if column == "flags" else value


def test_in_any_order_again_and_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCD_CATALOG_URL", raising=False)
    one_by_one, at_once = _home(tmp_path / "serial"), _home(tmp_path / "parallel")
    store = open_store(one_by_one)
    first = [admit(store, path, IDC) for path in DELIVERIES]
    assert sum(each.admitted for each in first) == 16_844
    refused = [each.refused for each in first]
    assert {rule: sum(one.get(rule, 0) for one in refused) for rule in ("size", "blank")} == {"size": 103, "blank": 5}
    assert {rule for one in refused for rule in one} == {"size", "blank"}
    content = _content(one_by_one)
    assert all(admit(store, path, IDC).already for path in reversed(DELIVERIES))
    assert _content(one_by_one) == content

    command = [sys.executable, "-c", ADMIT, str(at_once.home)]
    admitting = [subprocess.Popen([*command, str(path)]) for path in DELIVERIES]
    assert [each.wait(timeout=300) for each in admitting] == [0] * 5
    assert _content(at_once) == content
