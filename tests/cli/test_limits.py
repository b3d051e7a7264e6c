"""The named concurrency limits, on a real Prefect server: as bcd.toml says, until a person says otherwise."""

from __future__ import annotations

from typing import Any

from bcd.cli.limits import compare_limits, keep_limits
from bcd.settings import Settings


def limits(dashboard: Any) -> dict[str, int]:
    return {each["name"]: each["limit"] for each in dashboard.ask("POST", "/v2/concurrency_limits/filter")}


def test_limits_are_made_once_and_changed_where_bcd_toml_changed(settings: Settings, dashboard: Any) -> None:
    assert keep_limits(settings, dashboard.url) == []
    assert limits(dashboard) == {"bcd-training": 1, "bcd-scoring": 2}
    assert compare_limits(settings, dashboard.url) == ("Concurrency limits: bcd-training 1, bcd-scoring 2", [])
    assert keep_limits(settings, dashboard.url) == []
    four = settings.model_copy(update={"scorings_at_once": 4})
    assert len(keep_limits(four, dashboard.url)) == 1
    assert limits(dashboard) == {"bcd-training": 1, "bcd-scoring": 4}


def test_what_a_person_set_stays_and_is_told(settings: Settings, dashboard: Any) -> None:
    keep_limits(settings, dashboard.url)
    dashboard.ask("PATCH", "/v2/concurrency_limits/bcd-training", limit=3)
    dashboard.ask("PATCH", "/v2/concurrency_limits/bcd-scoring", active=False)
    names = ["concurrency limit bcd-scoring", "concurrency limit bcd-training"]
    shown, differences = compare_limits(settings, dashboard.url)
    assert shown == "Concurrency limits: bcd-training 3"
    assert [each.partition(":")[0] for each in differences] == names
    assert [each.partition(":")[0] for each in keep_limits(settings, dashboard.url)] == names
    assert limits(dashboard)["bcd-training"] == 3
    keep_limits(settings, dashboard.url, reset=True)
    assert compare_limits(settings, dashboard.url)[1] == []
