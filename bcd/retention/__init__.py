"""What is removed: data of withdrawn patients and files of old versions; and what is kept elsewhere: backups."""

from typing import Final

LOCK: Final = "retention"
"""The catalog's lock of whoever removes or backs up: nothing is removed while it is copied."""
