"""A delivery that cannot be admitted at all leaves the inbox, and is not lost."""

from __future__ import annotations

from bcd.admission.inbox import set_aside
from bcd.patches import Hospital
from bcd.settings import Settings


def test_it_is_moved_with_the_reason_beside_it(settings: Settings) -> None:
    for content in ("monday", "tuesday"):  # the same name twice: neither is lost
        folder = settings.inbox / "east"
        folder.mkdir(parents=True, exist_ok=True)
        delivery = folder / "photos.zip"
        delivery.write_text(content)
        where = set_aside(settings, delivery, Hospital("east"), reason=f"{content}: no patch in it.")
        assert not delivery.exists()
        assert where.read_text() == content
        assert where.with_name(f"{where.name}.txt").read_text() == f"{content}: no patch in it.\n"
    assert len(list((settings.set_aside / "east").iterdir())) == 4
