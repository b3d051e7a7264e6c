"""What the gate's page says of a challenger in shadow."""

from __future__ import annotations

from datetime import UTC, datetime

from bcd.evaluation.outcome import FOUND, NOT_FOUND
from bcd.gate.shadow import describe_shadow, summarise_shadow
from bcd.patches import Hospital, PatientId
from bcd.scoring.shadow import Agreement


def agree(patient: int, difference: float, *, same: bool = True, sides: dict[str, float] | None = None) -> Agreement:
    return Agreement(
        hospital=Hospital("east"),
        patient=PatientId(str(patient)),
        champion="bcd-idc/2",
        challenger="bcd-idc/3",
        content="c",
        patches=1200,
        same_side=sides or {"0.5": 0.9, "0.95": 0.8},
        difference=difference,
        champion_outcome=FOUND,
        challenger_outcome=FOUND if same else NOT_FOUND,
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_nothing_is_said_where_nothing_was_scored() -> None:
    assert describe_shadow([]) == ""


def test_figures_are_over_patients_each_weighing_the_same() -> None:
    agreements = [agree(1, 0.3, same=False), agree(2, 0.1), agree(3, 0.02, sides={"0.5": 0.6, "0.99": 1.0})]
    said = summarise_shadow(agreements)
    assert "bcd-idc/3 scored 3 patients beside bcd-idc/2" in said
    assert "Same outcome: 2 of 3." in said
    assert "median over patients: 0.100" in said
    assert "80.0 % at 0.5." in said  # the only level of all three


def test_the_table_has_a_row_a_patient_and_says_where_it_is_cut_short() -> None:
    rows = [
        line for line in describe_shadow([agree(1, 0.3, same=False), agree(2, 0.1)]).splitlines() if "east/" in line
    ]
    assert rows == [
        f"| east/1 | 1,200 | 0.300 | {FOUND} | {NOT_FOUND} | no | 90.0 % | 80.0 % |",
        f"| east/2 | 1,200 | 0.100 | {FOUND} | {FOUND} | yes | 90.0 % | 80.0 % |",
    ]
    many = describe_shadow([agree(number, 0.1) for number in range(1001)])
    assert many.count("| east/") == 200
    assert "of 1,001" in many
