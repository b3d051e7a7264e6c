"""The model card of a bundle: Markdown, one HTML file that needs nothing else, and a short form for the registry.

Examples:
        card = write_card(gather_facts(settings, record, run_id))
        card.write(folder)  # card.md, card.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bcd.bundle.card.facts import CardFacts
from bcd.bundle.card.sections import (
    USE,
    Section,
    describe_data,
    list_limits,
    make_compute,
    make_protocol,
    make_sections,
)
from bcd.bundle.record import BundleRecord
from bcd.evaluation.report.figures import describe_picture
from bcd.evaluation.report.tables import format_estimate, format_percent, threshold_rows
from bcd.pages import embed_picture, render_page
from bcd.tracking.lookup import MODEL
from bcd.training.ensemble import describe_ensemble

MARKDOWN, HTML = "card.md", "card.html"

_LONGEST = 5000  # characters of a description in MLflow's database
_NOT_SHORT = (
    "effective",
    "of IDC",
    "of no IDC",
    "accuracy, patient-macro",
    "specificity of kept",
    "specificity of all",
)


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes:
        short: What the registry's description has room for, in Markdown; its first line is a sentence that says what
            the bundle is.
        markdown: The whole of it, without pictures.
        html: The whole of it, as one file.
    """

    short: str
    markdown: str
    html: str

    def write(self, folder: Path) -> Path:
        """Writes `card.md` and `card.html` into a new folder and returns it."""
        folder.mkdir(parents=True)
        (folder / MARKDOWN).write_text(self.markdown, encoding="utf-8")
        (folder / HTML).write_text(self.html, encoding="utf-8")
        return folder


def write_card(facts: CardFacts) -> Card:
    """Writes the card of what the facts are of."""
    sections = make_sections(facts)
    return Card(short=_shorten(facts), markdown=_to_markdown(facts, sections), html=_to_html(facts, sections))


def describe_record(record: BundleRecord) -> str:
    """Says in one sentence what a bundle is."""
    auroc = record.metrics.get("test_auroc_pooled")
    figure = "without a test AUROC" if auroc is None else f"AUROC {auroc:.3f} on the test patients"
    network = describe_ensemble(record.architecture, record.ensemble)
    return (
        f"Trained on snapshot {record.snapshot[:12]} ({record.protocol}): {network}, {figure}, "
        f"{record.created_at:%Y-%m-%d}; research use only."
    )


def _shorten(facts: CardFacts) -> str:
    parts = [describe_record(facts.record), f"**{USE}** {describe_data(facts)} Snapshot {facts.record.snapshot}."]
    if facts.evaluation is not None:
        headline = "; ".join(f"{name} {value}" for name, value in _headline(facts).items())
        thresholds = threshold_rows(facts.evaluation).without(_NOT_SHORT)
        parts += [f"Test: {headline}.", replace(thresholds, caption="").markdown().strip()]
    parts.append("Limits:\n" + "\n".join(f"- {limit}" for limit in list_limits(facts)))
    parts += ["\n\n".join(section.text) for section in (make_compute(facts), make_protocol(facts))]
    closing = "The whole card is the artifact `artifacts/card/card.html` of this model."
    kept, room = [], _LONGEST - len(closing)
    for part in parts:
        if len(part) + 2 <= room:
            kept.append(part)
            room -= len(part) + 2
    return "\n\n".join([*kept, closing])


def _headline(facts: CardFacts) -> dict[str, str]:
    """Returns the figures that a reader looks for first, with their intervals."""
    evaluation = facts.evaluation
    if evaluation is None:
        return {}
    figures = {
        "AUROC, pooled": format_estimate(evaluation.pooled["auroc"]),
        "AUROC, mean over patients": format_estimate(evaluation.patient_macro["auroc"]),
        "balanced accuracy, pooled": format_estimate(evaluation.pooled["balanced_accuracy"]),
    }
    decided = next((row for row in evaluation.thresholds if row.level == 0.95), None)
    if decided is not None:
        figures["decided at 95 %"] = format_percent(decided.coverage)
    return figures


def _to_markdown(facts: CardFacts, sections: Sequence[Section]) -> str:
    parts = [f"# Model card: {MODEL}", describe_record(facts.record)]
    for section in sections:
        parts += [f"## {section.title}", *section.text]
        parts += ["\n".join(f"- {point}" for point in section.points)] if section.points else []
        parts += [table.markdown().strip() for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _to_html(facts: CardFacts, sections: Sequence[Section]) -> str:
    facts_shown = {
        "model": MODEL,
        "sentence": describe_record(facts.record),
        "headline": _headline(facts),
        "sections": sections,
        "pictures": [
            {"src": embed_picture(png, "png"), "alt": describe_picture(name, facts.evaluation)}
            for name, png in facts.pictures.items()
        ],
    }
    return render_page("bcd.bundle.card", "card.html.j2", facts_shown)
