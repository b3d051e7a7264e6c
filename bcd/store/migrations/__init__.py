"""Alembic migrations of the catalog; `bcd.store.catalog` runs them, there is no alembic.ini."""
