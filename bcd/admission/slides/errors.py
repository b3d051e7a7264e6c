"""Why a slide gives no patches."""

from __future__ import annotations


class SlideError(Exception):
    """A slide cannot be admitted; neither text quotes anything that the slide's metadata say.

    Args:
        rule: Code of the rule: no-spacing, no-tissue, unreadable, absurd-size, colour, own-picture or name.
        message: What is wrong, as a sentence for the person who handed it over.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(rule, message)  # both in args, so that the error survives pickling between processes
        self.rule = rule
        self.message = message

    def __str__(self) -> str:
        return self.message
