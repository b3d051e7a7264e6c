"""`bcd lineage` as a person types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bcd.cli.main import main
from bcd.settings import Settings


def _bcd(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bcd", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_terminal_names_every_link_json_has_them_all_and_to_writes_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _bcd(monkeypatch, "lineage", "1001_idx5_x51_y1", "--json") == 0
    links = json.loads(capsys.readouterr().out)["links"]
    assert _bcd(monkeypatch, "lineage", "1001_idx5_x51_y1", "--to", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    for link in links:
        assert link["name"] in shown
        assert link["sha256"] in shown
    assert (tmp_path / "out" / "lineage.html").is_file()
