"""`bcd monitor`: the trend of each hospital, as a person and as a program read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcd.gate.adoption import make_released_champion
from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server")]
ME = SignOff("test", "test")


@pytest.fixture
def store(settings: Settings) -> Store:
    """A home of two hospitals that deliver pseudonyms."""
    store = open_store(settings)
    for hospital in ("east", "public"):
        declare_hospital(store, hospital, "pseudonyms", ME)
    return store


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two deliveries of made-up patients, six in each."""
    small = HospitalOptions(patients=12, large_patients=0, small_patches=9, first_share=0.5)
    return draw_hospital(small, tmp_path_factory.mktemp("drawn"))


def test_deliveries_are_compared_with_the_champions_patients_once_by_hospital(
    bcd, store: Store, settings: Settings, released: Path, drawn: list[Path]
) -> None:
    nothing = "There is no champion, or no delivery, to compare."
    code, out, _ = bcd("monitor")
    assert (code, nothing in out) == (0, True)
    assert json.loads(bcd("monitor", "--json")[1]) == []

    make_released_champion(store, ME)
    assert nothing in bcd("monitor")[1]
    for delivery, hospital in zip(drawn, ("east", "public"), strict=True):
        code, _, err = bcd("ingest", delivery, "--hospital", hospital)
        assert code == 0, err

    code, out, err = bcd("monitor")
    assert code == 0, err
    rows = [row for line in out.splitlines() if (row := line.split())[:1] in (["east"], ["public"])]
    assert [row[:2] for row in rows] == [["east", "delivery-1.zip"], ["public", "delivery-2.zip"]]
    assert [row[3] for row in rows] == ["6", "6"]
    assert ["foreign" in row for row in rows] == [True, False]
    plot = settings.reports / "drift.png"
    assert str(plot) in out
    assert plot.read_bytes().startswith(b"\x89PNG")

    told = json.loads(bcd("monitor", "--json")[1])
    assert [(one["hospital"], one["name"], one["step"]) for one in told] == [
        ("east", "delivery-1.zip", 1),
        ("public", "delivery-2.zip", 1),
    ]
    assert [one["state"]["patients"] for one in told] == [6, 6]
    assert [one["state"]["foreign"] for one in told] == [True, False]
    assert all(one["state"]["shifts"] for one in told)
