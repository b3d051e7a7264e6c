"""The names of a delivery's files as bcd stores, logs and reports them.

Of a hospital whose identifiers are pseudonyms already they stay as delivered. Of another one, every identifier in
them becomes a pseudonym, and whatever else may name somebody a keyed token, before anything is written anywhere.
"""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path, PurePosixPath

from bcd.admission.rules import RULES, Refusal
from bcd.errors import BcdError, UnavailableError
from bcd.patches import Hospital, PatchName, PatientId
from bcd.store.catalog import retry_while_database_away
from bcd.store.pseudonyms import Pseudonyms, open_pseudonyms
from bcd.store.store import Store

_IDENTIFIER = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,8}){0,2}", re.ASCII)


class Naming:
    """How a hospital's patients and files are called.

    Args:
        pseudonyms: The hospital's pseudonyms; None where its identifiers are pseudonyms already.
    """

    def __init__(self, pseudonyms: Pseudonyms | None) -> None:
        self._pseudonyms = pseudonyms
        self.patient = cache(self._patient)
        self._folder = cache(self._show_folder)

    @property
    def hides(self) -> bool:
        """Whether delivered identifiers are replaced."""
        return self._pseudonyms is not None

    def _patient(self, identifier: str) -> PatientId:
        return PatientId(identifier) if self._pseudonyms is None else self._pseudonyms.patient(identifier)

    def show(self, name: str) -> str:
        """Returns the path of a delivery's file as it may be seen."""
        if self._pseudonyms is None:
            return name
        *folders, file = name.split("/")
        patch = PatchName.parse(file)
        if patch is not None:
            shown = dataclasses.replace(patch, patient=self.patient(patch.patient)).format()
        else:
            shown = self.show_title(file)
        return "/".join([*map(self._folder, folders), shown])

    def show_title(self, title: str) -> str:
        """Returns the name of a delivery, or of a file that is no patch, as it may be seen; it keeps its suffix."""
        if self._pseudonyms is None:
            return title
        suffix = "".join(PurePosixPath(title).suffixes[-2:])
        return self._pseudonyms.hide(title) + (suffix if _SUFFIX.fullmatch(suffix) else "")

    def show_error(self, error: BcdError, path: Path) -> BcdError:
        """Returns an error without the place and name of a delivery that may name somebody."""
        if not self.hides:
            return error
        kind = UnavailableError if isinstance(error, UnavailableError) else BcdError
        return kind(self.show_text(error.what, path), self.show_text(error.fix, path))

    def show_text(self, text: str, path: Path) -> str:
        """Returns a text that names a delivery, with the delivery's name as it may be seen and without its folder."""
        shown = self.show_title(path.name)
        return text.replace(str(path), shown).replace(path.name, shown)

    def show_refusal(self, refusal: Refusal) -> Refusal:
        """Returns a refusal for a name or place without the names that its message holds."""
        return Refusal(refusal.rule, RULES[refusal.rule]) if self.hides else refusal

    def _show_folder(self, folder: str) -> str:
        assert self._pseudonyms is not None
        if folder in {"0", "1"}:  # a label
            return folder
        return self.patient(folder) if _IDENTIFIER.fullmatch(folder) else self._pseudonyms.hide(folder)


def open_naming(store: Store, hospital: Hospital) -> Naming:
    """Opens the names of a hospital's deliveries.

    Raises:
        UnavailableError: The hospital is not declared, or its key of pseudonyms is missing or another one.
    """
    try:
        return Naming(retry_while_database_away(lambda: open_pseudonyms(store, hospital)))
    except BcdError as error:  # a key that is missing is no fault of the delivery, which waits for it
        raise UnavailableError(error.what, error.fix) from error
