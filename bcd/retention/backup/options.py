"""Where the nightly backup goes: the table `[backup]` of bcd.toml."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from bcd.options import Options


class BackupOptions(Options):
    """The backup that `bcd up` makes each night, where a folder is named."""

    folder: Path = Field(Path(), description="The folder of backups, outside BCD_HOME; empty: none are made.")
    keys: Path = Field(
        Path(), description="Where the key of pseudonyms is copied to, on another disk; empty: it is not copied."
    )
    deliveries: bool = Field(
        False, description="Whether the deliveries in inbox, received and set-aside are copied too."
    )

    @field_validator("folder", "keys")
    @classmethod
    def _be_absolute(cls, path: Path) -> Path:
        path = path.expanduser()
        if path != Path() and not path.is_absolute():
            raise ValueError("an absolute path, for the worker runs in a folder of its own")
        return path

    @property
    def is_on(self) -> bool:
        """Whether backups are made by themselves."""
        return self.folder != Path()
