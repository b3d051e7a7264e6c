"""Backup and restore of a home, incremental by content."""
