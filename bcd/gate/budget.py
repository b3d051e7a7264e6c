"""The budget of looks: how sure the gate has to be at each one, so that all of them together keep one promise.

The promise is about a home's whole life: with a probability of at most `budget` the gate ever promotes a version
whose AUROC is worse than the anchor's by the margin, or takes a version for better than the anchor that is not. Every
look spends a part, its *level*: the probability with which its one-sided bound on challenger minus anchor lies above
the truth. The levels of all looks sum to at most `budget`, so that the promise holds however alike the challengers
are (Bonferroni's inequality), as long as levels follow from the number of patients and of looks, and from no score.

Gate patients unlock the budget, as information does in Lan and DeMets (1983): n of them n / (n + `half_budget_at`) of
it. A look spends the share `look_share` of what is unlocked and not spent. Looks at the same patients are therefore
ever stricter, and each new patient renews what the next may spend.

Examples:
    >>> from bcd.gate.options import GateOptions
    >>> first = open_budget([], 40, GateOptions())
    >>> round(first.unlocked, 4), round(first.level, 5)
    (0.0167, 0.00167)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcd.formats import format_count
from bcd.options import Probability
from bcd.store.decisions import list_stored_decisions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bcd.gate.options import GateOptions
    from bcd.store.store import Store


@dataclass(frozen=True)
class Budget:
    """What is left to spend before a look.

    Attributes:
        patients: Gate patients who have unlocked it: the most of any look so far, the one to come included.
        unlocked: Probability that they unlock, of `[gate] budget`.
        spent: Probability that earlier looks spent.
        level: Probability that the look to come spends.
        renewal: Probability that one more gate patient unlocks.
    """

    patients: int
    unlocked: Probability
    spent: Probability
    level: Probability
    renewal: Probability

    @property
    def left(self) -> Probability:
        """What is unlocked and not spent."""
        return max(0.0, self.unlocked - self.spent)

    def tell(self, spends: Probability) -> str:
        """Says in sentences what a look spends, what is left after it, and what renews that."""
        left = max(0.0, self.left - spends)
        spent = (
            f"This look spends {tell_risk(spends)} of the budget" if spends else "This look spends none of the budget"
        )
        return (
            f"{spent}; {tell_risk(left)} of the {tell_risk(self.unlocked)} that"
            f" {format_count(self.patients, 'gate patient')} unlocked are left. New gate patients renew it, the next"
            f" one by {tell_risk(self.renewal)}."
        )


def tell_risk(probability: Probability) -> str:
    """Formats a probability of the budget as `0.25 %`, with two digits however small it is."""
    return f"{100 * probability:.2g} %"


def unlock_budget(patients: int, options: GateOptions) -> Probability:
    """Returns the probability that so many gate patients unlock; all of `budget` only in infinity."""
    return options.budget * patients / (patients + options.half_budget_at)


def open_budget(looks: Iterable[tuple[int, Probability]], patients: int, options: GateOptions) -> Budget:
    """Returns what a look may spend.

    Args:
        looks: Gate patients and level of each earlier look.
        patients: Gate patients of the look to come.
        options: The budget, and how it is unlocked and spent.
    """
    earlier = list(looks)
    most = max([patients, *(number for number, _ in earlier)])
    unlocked, spent = unlock_budget(most, options), sum(level for _, level in earlier)
    return Budget(
        patients=most,
        unlocked=unlocked,
        spent=spent,
        level=options.look_share * max(0.0, unlocked - spent),
        renewal=unlock_budget(most + 1, options) - unlocked,
    )


def find_budget(store: Store, protocol: str, patients: int, options: GateOptions) -> Budget:
    """Returns what a look at so many gate patients of a protocol may spend, by what the catalog says was spent.

    Each protocol deals other gate patients and has a budget of its own.
    """
    spent = [one for one in list_stored_decisions(store) if one.level and one.evidence.get("protocol") == protocol]
    return open_budget([(one.evidence["patients"], one.level) for one in spent], patients, options)
