"""What a comparison means: fine, unusual, or not to be trusted; and that a hospital is foreign, whatever it says.

Pictures and scores are compared apart. Only pictures can make a delivery one that is not to be trusted: a shift of
probabilities alone may be a ward with more cancer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bcd.drift.compare import FEWEST, Comparison, compare
from bcd.drift.measure import PICTURE, SCORE
from bcd.drift.profiles import Profile, Profiles
from bcd.formats import format_signed
from bcd.patches import Hospital

Level = Literal["not compared", "fine", "unusual", "not to be trusted"]

NOT_COMPARED: Level = "not compared"
FINE: Level = "fine"
UNUSUAL: Level = "unusual"
UNTRUSTED: Level = "not to be trusted"

LEVELS: tuple[Level, ...] = (NOT_COMPARED, FINE, UNUSUAL, UNTRUSTED)
"""From nothing known to worst."""

DELIVERY_RATE = 0.03
"""Share of deliveries like the training patients that are called more than fine, pictures and scores together.

At most 5 % are wanted, with the interval of what is measured: a rate of 5 % itself leaves no room for one.
"""

SLIDE_RATE = 0.01
"""Share of such slides whose pictures are called more than fine; of their scores the same."""

DELIVERY_SHIFT = 1.0
"""Standard deviations of a patient that a delivery lies off on average, from which on it is not trusted."""

SLIDE_SHIFT = 6.0
"""The same of a single slide."""

_TOLD = 3
_WORDS = PICTURE | SCORE


class Known(BaseModel):
    """The patients whom a bundle knows, as slides and deliveries are compared with them.

    Attributes:
        pictures: Profiles of the pictures of train patients.
        scores: Profiles of the scores of patients whom it was not trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: Profiles
    scores: Profiles

    def is_foreign(self, hospital: Hospital) -> bool:
        """Whether no patient of a hospital is among the train patients."""
        return hospital not in self.pictures.hospitals


class Drift(BaseModel):
    """The state of a slide, a patient or a delivery.

    Attributes:
        level: One of `LEVELS`.
        foreign: Whether its hospital has no patient among those whom the bundle was trained on; None: not known.
        reasons: What was found, in sentences.
        patients: Patients, or slides, that were compared.
        known: Train patients whom their pictures were compared with; 0: none.
        p: The smallest p-value of the comparisons, corrected for their number; None where nothing was compared.
        shifts: Shifts of all statistics, in standard deviations of a patient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level
    foreign: bool | None
    reasons: tuple[str, ...] = ()
    patients: int = 0
    known: int = 0
    p: float | None = None
    shifts: dict[str, float] = Field(default_factory=dict)

    @property
    def colour(self) -> Literal["plain", "yellow", "red"]:
        """How it is shown: red where it is not to be trusted, yellow where a person should look."""
        if self.level == UNTRUSTED:
            return "red"
        return "yellow" if self.foreign or self.level == UNUSUAL else "plain"

    @property
    def title(self) -> str:
        """The state in a few words."""
        return f"{self.level}, foreign hospital" if self.foreign else self.level

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, or that all is as usual."""
        usual = f"Pictures are like those of the {self.known} patients of the model's training compared with."
        return (*self.reasons, usual) if self.level == FINE else self.reasons


def assess_delivery(
    known: Known | None, hospital: Hospital, pictures: Sequence[Profile], scores: Sequence[Profile] = ()
) -> Drift:
    """Says how the patients of a delivery compare with those whom a bundle knows.

    Args:
        known: The bundle's patients; None where its record holds none.
        hospital: Where the delivery comes from.
        pictures: A profile a patient.
        scores: A profile a patient whom the bundle was not trained on; none where they are not scored yet.
    """
    return _assess(known, hospital, pictures, scores, rate=DELIVERY_RATE / 2, far=DELIVERY_SHIFT)


def assess_slide(
    known: Known | None, hospital: Hospital, name: str, pictures: Profile, scores: Profile | None
) -> Drift:
    """Says how one slide compares with the patients whom a bundle knows.

    Args:
        known: The bundle's patients; None where its record holds none.
        hospital: Where the slide comes from.
        name: What the slide is called.
        pictures: Its pictures.
        scores: Its scores; None where the bundle was trained on its patient.
    """
    scored = [] if scores is None else [scores]
    return _assess(known, hospital, [pictures], scored, rate=SLIDE_RATE, far=SLIDE_SHIFT, slide=name)


def join_drifts(states: Iterable[Drift]) -> Drift:
    """Returns the worst of several states of one hospital, with the reasons of all."""
    every = sorted(states, key=lambda state: -LEVELS.index(state.level))
    reasons = tuple(dict.fromkeys(reason for state in every for reason in state.reasons))
    return every[0].model_copy(update={"reasons": reasons})


def _assess(
    known: Known | None,
    hospital: Hospital,
    pictures: Sequence[Profile],
    scores: Sequence[Profile],
    *,
    rate: float,
    far: float,
    slide: str = "",
) -> Drift:
    if known is None:
        reasons = ("The bundle's record holds no patients to compare with.",)
        return Drift(level=NOT_COMPARED, foreign=None, reasons=reasons)
    foreign = known.is_foreign(hospital)
    findings = [_FOREIGN.format(hospital)] if foreign else []
    seen = _compare(known.pictures, hospital, pictures)
    told = _compare(known.scores, hospital, scores)
    if seen is None:
        few = f"The bundle knows fewer than {FEWEST} patients" if pictures else "No patient is left of it"
        findings.append(f"{few}: nothing was compared.")
        return Drift(level=NOT_COMPARED, foreign=foreign, reasons=tuple(findings))
    level, of = FINE, f"Slide {slide}" if slide else "The delivery"
    if told is not None and _is_unusual(told, rate, slide=bool(slide)):
        level = UNUSUAL
        findings.append(f"{of}: scores are unlike those of the {told.known} patients compared with: {_tell(told)}.")
    if _is_unusual(seen, rate, slide=bool(slide)):
        level = UNTRUSTED if seen.largest >= far else UNUSUAL
        findings.append(f"{of}: pictures are unlike those of the {seen.known} patients compared with: {_tell(seen)}.")
    done = [each for each in (seen, told) if each is not None]
    return Drift(
        level=level,
        foreign=foreign,
        reasons=tuple(findings),
        patients=len(pictures),
        known=seen.known,
        p=min(1.0, len(done) * min(each.p for each in done)),
        shifts=seen.shifts | (told.shifts if told else {}),
    )


_FOREIGN = "Hospital {} is foreign: none of its patients is among those that the model was trained on."


def _compare(known: Profiles, hospital: Hospital, found: Sequence[Profile]) -> Comparison | None:
    """Compares with the hospital's own patients where they are enough, else with everybody."""
    if not found:
        return None
    return compare(known.of_hospital(hospital), found) or compare(known, found)


def _is_unusual(found: Comparison, rate: float, *, slide: bool) -> bool:
    """Whether a comparison says so at a rate; of a slide, which one in n + 1 is farther than n patients anyhow."""
    return found.p <= (max(rate, 1 / (found.known + 1)) if slide else rate)


def _tell(found: Comparison) -> str:
    shown = list(found.shifts.items())[:_TOLD]
    told = ", ".join(f"{_WORDS[name]} {format_signed(shift, 1)}" for name, shift in shown)
    return f"{told} standard deviations of a patient"
