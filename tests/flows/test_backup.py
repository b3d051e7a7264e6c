"""The flow `backup`: into the folder that bcd.toml names, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcd.config import load_configuration
from bcd.errors import BcdError
from bcd.retention.backup.options import BackupOptions
from bcd.settings import Settings
from bcd.store.store import open_store

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server")]


def test_the_home_is_copied_into_the_folder_of_bcd_toml(settings: Settings, tmp_path: Path) -> None:
    from flows.backup import backup

    open_store(settings)
    (settings.home / "bcd.toml").write_text(f'[backup]\nfolder = "{tmp_path / "backups"}"\n')
    name = backup()
    assert list((tmp_path / "backups").glob(f"**/{name}*"))


@pytest.mark.usefixtures("settings")
def test_without_a_folder_it_says_where_one_is_named() -> None:
    from flows.backup import backup

    with pytest.raises(BcdError, match=r"\[backup\]"):
        backup()


def test_a_folder_is_absolute(settings: Settings) -> None:
    settings.home.mkdir(parents=True)
    (settings.home / "bcd.toml").write_text('[backup]\nfolder = "backups"\n')
    with pytest.raises(BcdError, match="absolute"):
        load_configuration()
    assert not BackupOptions().is_on
