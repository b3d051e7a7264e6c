"""What is tried again: a task whose disk, network or database failed, and nothing else."""

from __future__ import annotations

import errno

import pytest
from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy.exc import OperationalError

from bcd.errors import BcdError, DamagedError, UnavailableError
from flows.ingest import admit_delivery_task, cut_slide_task
from flows.retries import RETRIES, is_io_fault
from flows.score import score_patient_task


def fail(error: Exception, cause: Exception | None) -> None:
    raise error from cause


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("error", "cause", "tries"),
    [
        (UnavailableError("No room.", "Make room."), OSError(errno.ENOSPC, "full"), RETRIES + 1),
        (UnavailableError("No database.", "Start it."), OperationalError("", {}, OSError()), RETRIES + 1),
        (UnavailableError("OpenSlide is missing.", "Install it."), ModuleNotFoundError(), 1),
        (UnavailableError("The key is missing.", "Restore it."), BcdError("It is missing.", "Restore it."), 1),
        (UnavailableError("Another run has taken it.", "Nothing."), None, 1),
        (DamagedError("Cut short.", "Restore it."), OSError(), 1),
        (ValueError("a defect"), None, 1),
    ],
)
def test_only_faults_of_disk_network_and_database_are_tried_again(
    error: Exception, cause: Exception | None, tries: int
) -> None:
    tried = []

    @task(cache_policy=NO_CACHE, retries=RETRIES, retry_delay_seconds=0, retry_condition_fn=is_io_fault)
    def work() -> None:
        tried.append(1)
        fail(error, cause)

    with pytest.raises(type(error)):
        work()
    assert len(tried) == tries


@pytest.mark.parametrize("work", [admit_delivery_task, cut_slide_task, score_patient_task])
def test_the_tasks_that_read_and_write_are_tried_again(work) -> None:
    assert (work.retries, work.retry_condition_fn) == (RETRIES, is_io_fault)
