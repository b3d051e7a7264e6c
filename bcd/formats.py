"""Numbers as text, as every sentence, table and page writes them.

Examples:
    >>> format_count(1200, "patient"), format_count(1, "batch", "es"), format_share(19, 20), format_signed(0.012)
    ('1,200 patients', '1 batch', '95.0 %', '+.012')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

NOT_AVAILABLE = "n/a"

_MINUS = "−"  # noqa: RUF001


class _Figure(Protocol):
    """A figure and its interval, each None where there is none."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def format_count(number: int, noun: str, plural: str = "s") -> str:
    """Formats a number of things, as `1 batch`, `2 batches` or `1,200 patients`."""
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def format_some(things: Sequence[str], most: int, between: str = ", ") -> str:
    """Formats the first of some things and how many more there are, as `8867, 8913, and 7 more`."""
    more = len(things) - most
    return between.join([*things[:most], f"and {more:,} more"] if more > 0 else things)


def format_estimate(estimate: _Figure) -> str:
    """Formats a metric as `.953 [.921, .974]`; n/a where there is none."""
    return _with_interval(_format_decimal, estimate)


def format_percent(estimate: _Figure) -> str:
    """Formats a share as `95.3 %`; n/a where there is none."""
    return NOT_AVAILABLE if estimate.value is None else format_share(estimate.value)


def format_difference(difference: _Figure) -> str:
    """Formats a difference with its sign, as `+.012 [+.004, +.028]`; n/a where there is none."""
    return _with_interval(format_signed, difference)


def format_signed(value: float, digits: int = 3) -> str:
    """Formats a figure that may lie on either side of zero, as `+.012` or `−.003`."""  # noqa: RUF002
    text = _format_decimal(value, digits)
    return text if text.startswith(_MINUS) else f"+{text}"


def format_share(part: float, whole: float = 1) -> str:
    """Formats a part of a whole as `95.3 %`; n/a of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else NOT_AVAILABLE


def format_level(level: float) -> str:
    """Formats a confidence level as `99.99 %`."""
    return f"{100 * level:.10g} %"


def _with_interval(tell: Callable[[float], str], found: _Figure) -> str:
    if found.value is None:
        return NOT_AVAILABLE
    span = NOT_AVAILABLE if found.low is None or found.high is None else f"{tell(found.low)}, {tell(found.high)}"
    return f"{tell(found.value)} [{span}]"


def _format_decimal(value: float, digits: int = 3) -> str:
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    return f"{_MINUS}{text}" if value < 0 and text.strip(".0") else text
