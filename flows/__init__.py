"""When and in what order: thin Prefect flows around the functions of `bcd`.

Each file holds one flow, which runs on its own (`python flows/ingest.py`) without any server, or from the Prefect
dashboard once `bcd up` has deployed it.
"""

from bcd.runtime import enter
from bcd.settings import load_settings
from bcd.store.schemas import prefect_database, require_schema

_settings = load_settings()
# Before any flow module imports Prefect: telemetry off, state under BCD_HOME.
enter(_settings)
# Prefect makes its own folder in the home, and not the home.
_settings.home.mkdir(parents=True, exist_ok=True)
# Before a server is started for a flow: on a database of a newer Prefect it would end without a reason.
require_schema("prefect", prefect_database(_settings))
