"""What flows leave in Prefect."""

from __future__ import annotations

import pytest

from flows.reporting import artifact_key


@pytest.mark.parametrize(
    ("text", "key"),
    [("heatmap-public-idc-8867", "heatmap-public-idc-8867"), ("Drawing patient East/12", "drawing-patient-east-12")],
)
def test_keys_have_the_form_that_prefect_accepts(text: str, key: str) -> None:
    assert artifact_key(text) == key
