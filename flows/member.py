"""Member: a machine trains one network of an ensemble, whose retraining was begun elsewhere.

`train` starts such runs where `[search] pool` names a work pool.
"""

from __future__ import annotations

from typing import Annotated

from prefect import flow, runtime
from pydantic import Field

from bcd.retraining.members import train_member
from flows.forms import Text
from flows.reporting import report_to_prefect, told_to_prefect
from flows.stages import begin_stage_flow
from flows.train import publish_training


def _name_run() -> str:
    given = runtime.flow_run.parameters
    return f"network {given.get('number')} of {str(given.get('plan'))[:8]}"


@flow(name="member", flow_run_name=_name_run)
@told_to_prefect
def member(plan: Text, number: Annotated[int, Field(ge=1, le=100)]) -> None:
    """Trains one network of the ensemble of a retraining; the store takes it to the machine that asked for it.

    Args:
        plan: Id of the plan of the retraining, or its beginning.
        number: Which network, from 1.
    """
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        trained = train_member(settings, retraining, number)
        publish_training([trained], f"Network {number} of plan {retraining.key}")
