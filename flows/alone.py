"""What a flow's file does first that is run on its own, before Prefect is imported and reads its settings.

The command and the worker have done it already for the flows that they run.
"""

from __future__ import annotations

from bcd.runtime import enter_runtime, require_prefect
from bcd.settings import load_settings
from bcd.store.schemas import prefect_schema_database, require_schema


def begin_flow_alone() -> None:
    """Makes this process one of bcd's: telemetry off, state under BCD_HOME.

    Raises:
        BcdError: The Prefect server that the settings name does not answer; or Prefect's database is of a newer
            Prefect, on which the flow's server would end without a reason.
    """
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)  # Prefect makes its own folder, but none above it
    enter_runtime(settings)
    require_prefect(settings)
    require_schema("prefect", prefect_schema_database(settings))
