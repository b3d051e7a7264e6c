"""What the demo decides before it starts: which deliveries, which protocol, whose BCD_HOME."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcd.cli.demo import Memory, find_data, suggest, write_protocol
from bcd.errors import BcdError
from bcd.settings import Settings, load_settings


def test_a_folder_without_two_deliveries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BcdError, match=r"\b0 deliveries"):
        find_data(tmp_path)


def test_a_bad_delivery_is_named_before_anything_starts(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"no zip")
    with pytest.raises(BcdError, match=r"a\.zip"):
        find_data(tmp_path)


def test_a_home_belongs_to_one_demo(settings: Settings) -> None:
    memory = Memory.open(settings, data="/data", protocol="dealt")
    assert memory.first_snapshot == ""
    memory.keep_snapshot(settings, "4cb2")
    assert Memory.open(settings, data="/data", protocol="dealt").first_snapshot == "4cb2"
    with pytest.raises(BcdError, match=r"/data\b.*\bdealt\b"):
        Memory.open(settings, data="/data", protocol="cruz-roa-2014")


@pytest.mark.real_data
def test_the_public_set_is_recognised(deliveries: Path) -> None:
    found = find_data(deliveries)
    assert [path.name for path in found] == [f"idc-batch-{number}.zip" for number in range(1, 6)]
    assert suggest(found) == "cruz-roa-2014-dev"


def test_schedules_retrain_under_the_protocol_of_the_demo(settings: Settings) -> None:
    write_protocol(settings, "cruz-roa-2014-dev")
    assert load_settings().splits == {"protocol": "cruz-roa-2014-dev"}
    write_protocol(settings, "dealt")  # never over what is written there
    assert load_settings().splits == {"protocol": "cruz-roa-2014-dev"}


def test_other_patients_are_dealt() -> None:
    assert suggest([]) == "dealt"
