"""What several tests of flows begin with."""

from challenged import challenged

__all__ = ["challenged"]
