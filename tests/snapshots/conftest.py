"""A home whose catalog is on SQLite and on a real PostgreSQL."""

from stored import make_index, settings, store, store_batch

__all__ = ["make_index", "settings", "store", "store_batch"]
