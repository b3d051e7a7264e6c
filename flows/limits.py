"""The named concurrency limits: what a machine does at a time, whoever starts it, seen and changed on the dashboard.

`bcd up` makes them on its server, as large as bcd.toml says. A stage holds its slot while it works and no longer, and
never two: a parent flow holds none, so that it cannot keep its children from theirs. The runs of `trials` and
`member` need none: the search or training that waits for them holds it.

Examples:
        with hold_slot(TRAINING):
            train_stage(settings, retraining)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

TRAINING = "bcd-training"
SCORING = "bcd-scoring"

_LEASE_SECONDS = 60.0  # the least that Prefect takes: after it the slot of a killed process is free again


@contextmanager
def hold_slot(limit: str) -> Iterator[None]:
    """Waits for a slot of a limit and holds it during the block; without a server of `bcd up` there is no limit."""
    from prefect.concurrency.sync import concurrency
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        yield
        return
    # A lease that could not be renewed, as where the server was away, is no reason to stop hours of training.
    with concurrency(limit, lease_duration=_LEASE_SECONDS, strict=False, raise_on_lease_renewal_failure=False):
        yield
