"""Which refusals a person may overrule, and why not the others."""

from __future__ import annotations

WAIVED = frozenset({"folder", "off-slide", "blank"})
"""Rules that a person may overrule."""

CHOSEN = frozenset({"duplicate-cell", "two-patients", "two-labels"})
"""Rules that a person may settle by choosing which of several files is right."""

RELEASABLE = WAIVED | CHOSEN
"""Rules whose refusals can be released."""

_MEND_FILE = "mend the file and deliver it again"
NOT_RELEASABLE = {
    "unsafe-path": "nothing is read from such a path; pack the delivery again",
    "not-a-file": "it has no bytes of its own; deliver the file that it points to",
    "container": "nothing in it was opened; unpack it and deliver the folder",
    "no-delivery": "nothing in it was read; deliver patches or slides",
    "split": "nothing in it was opened; deliver the whole archive",
    "nested-archive": "deliver the inner archive by itself",
    "encrypted": "it cannot be read; deliver it without a password",
    "compression": "it was never unpacked; pack it again by Deflate",
    "bomb": "it was never unpacked; deliver the file by itself if it is what it says",
    "name": "without patient and place it is no patch; rename the file and deliver it again",
    "off-grid": "it overlaps the patches of the grid; cut the slide again on the grid",
    "unreadable": f"it has no pixels to admit; {_MEND_FILE}",
    "empty": f"it has no bytes; {_MEND_FILE}",
    "too-many": "nothing in it was opened; deliver it in parts",
    "too-large": f"it was not read whole; {_MEND_FILE}",
    "not-png": f"it has no 50x50 RGB pixels; {_MEND_FILE}",
    "truncated": f"it has no 50x50 RGB pixels; {_MEND_FILE}",
    "absurd-size": f"it has no 50x50 RGB pixels; {_MEND_FILE}",
    "colour": f"it has no 50x50 RGB pixels; {_MEND_FILE}",
    "size": f"it has no 50x50 RGB pixels; {_MEND_FILE}",
    "slides-file": "correct the table and deliver it again, with the slides",
    "own-picture": "deliver the slide that it was drawn from",
    "no-spacing": "deliver the slide again with --spacing",
    "no-tissue": "a slide is delivered again whole; crop it to its tissue first",
    "labels-file": "mend the table, then `bcd labels import` it",
    "labels-alone": "`bcd labels import` it once its patches are admitted",
    "withdrawn": "the patient's consent is withdrawn",
    "already-admitted": "the patch is in an earlier batch already",
    "failed": "nothing of the delivery was admitted; deliver it again",
    "suspected": "nothing of the delivery was admitted; deliver it again",
}
"""Why refusals by the other rules cannot be released, and what to do instead."""
