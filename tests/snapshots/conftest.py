"""A home whose catalog is on SQLite and on a real PostgreSQL."""

from stored import catalog, make_index, settings, store_batch

__all__ = ["catalog", "make_index", "settings", "store_batch"]
