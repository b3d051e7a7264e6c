"""When and in what order: thin Prefect flows around the functions of `bcd`.

Each file holds one flow, which runs on its own (`python flows/ingest.py`) without any server, or from the Prefect
dashboard once `bcd up` has deployed it. Importing them changes nothing.
"""

from pathlib import Path

_PACKED = Path(__file__).with_name("deployment.yaml")  # in a wheel; in a checkout it lies in the root

DEPLOYMENTS = _PACKED if _PACKED.exists() else Path(__file__).parents[1] / "deployment.yaml"
"""The file that says which flows `bcd up` deploys, and how."""
