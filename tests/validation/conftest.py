"""A home with an empty registry."""

from registered import registry_settings as settings

__all__ = ["settings"]
