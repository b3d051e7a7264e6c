"""When and in what order: thin Prefect flows around the functions of `bcd`.

Each file holds one flow, which runs on its own (`python flows/ingest.py`) without any server, or from the Prefect
dashboard once `bcd up` has deployed it.
"""

from bcd.runtime import enter
from bcd.settings import load_settings

# Before any flow module imports Prefect: telemetry off, state under BCD_HOME.
enter(load_settings())
