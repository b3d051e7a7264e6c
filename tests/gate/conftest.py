"""A home with an empty registry, and the catalog of the five versions that nothing was decided on."""

from registered import registry_settings as settings
from registered import undecided_store as store

__all__ = ["settings", "store"]
