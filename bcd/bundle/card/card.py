"""The model card of a bundle: Markdown, one HTML file that needs nothing else, and a short form for the registry.

Examples:
        card = write_card(gather_facts(settings, record, run_id))
        card.write(folder)  # card.md, card.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bcd.bundle.card.facts import CardFacts
from bcd.bundle.card.sections import (
    USE,
    Section,
    describe_data,
    list_limits,
    make_compute_section,
    make_protocol_section,
    make_sections,
)
from bcd.bundle.record import BundleRecord
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.report.figures import describe_evaluation_picture
from bcd.evaluation.report.tables import threshold_rows
from bcd.formats import format_estimate, format_percent
from bcd.pages import embed_picture_in_page, render_page
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
    pictures = {describe_evaluation_picture(name, facts.evaluation): png for name, png in facts.pictures.items()}
    return render_card(
        _shorten_card(facts), describe_record(facts.record), _headline_of_card(facts), make_sections(facts), pictures
    )


def describe_record(record: BundleRecord) -> str:
    """Says in one sentence what a bundle is."""
    auroc = record.metrics.get("test_auroc_pooled")
    figure = "without a test AUROC" if auroc is None else f"AUROC {auroc:.3f} on the test patients"
    network = describe_ensemble(record.architecture, record.ensemble)
    return (
        f"Trained on snapshot {record.snapshot[:12]} ({record.protocol}): {network}, {figure}, "
        f"{record.created_at:%Y-%m-%d}; research use only."
    )


def _shorten_card(facts: CardFacts) -> str:
    parts = [describe_record(facts.record), f"**{USE}** {describe_data(facts)} Snapshot {facts.record.snapshot}."]
    if facts.evaluation is not None:
        headline = "; ".join(f"{name} {value}" for name, value in _headline_of_card(facts).items())
        thresholds = threshold_rows(facts.evaluation).without(_NOT_SHORT)
        parts += [f"Test: {headline}.", replace(thresholds, caption="").markdown().strip()]
    parts.append("Limits:\n" + "\n".join(f"- {limit}" for limit in list_limits(facts)))
    parts += ["\n\n".join(section.text) for section in (make_compute_section(facts), make_protocol_section(facts))]
    closing = "The whole card is the artifact `artifacts/bundle/card/card.html` of this model."
    kept, room = [], _LONGEST - len(closing)
    for part in parts:
        if len(part) + 2 <= room:
            kept.append(part)
            room -= len(part) + 2
    return "\n\n".join([*kept, closing])


def _headline_of_card(facts: CardFacts) -> dict[str, str]:
    return {} if facts.evaluation is None else make_card_headline(facts.evaluation)


def make_card_headline(evaluation: Evaluation) -> dict[str, str]:
    """Returns the figures that a reader looks for first, with their intervals."""
    figures = {
        "AUROC, pooled": format_estimate(evaluation.pooled["auroc"]),
        "AUROC, mean over patients": format_estimate(evaluation.patient_macro["auroc"]),
        "balanced accuracy, pooled": format_estimate(evaluation.pooled["balanced_accuracy"]),
    }
    confident = next((row for row in evaluation.thresholds if row.level == 0.95), None)
    if confident is not None:
        figures["confident at 95 %"] = format_percent(confident.coverage)
    return figures


def render_card(
    short: str,
    sentence: str,
    headline: Mapping[str, str],
    sections: Sequence[Section],
    pictures: Mapping[str, bytes],
    *,
    whose: str = "test patients",
) -> Card:
    """Renders a card.

    Args:
        short: What the registry's description has room for.
        sentence: What the bundle is.
        headline: The figures that a reader looks for first, by what they are.
        sections: The rest, in its order.
        pictures: PNG files, each by the sentence that says what it shows.
        whose: Whose figures and pictures they are.
    """
    return Card(
        short=short,
        markdown=_to_markdown(sentence, sections),
        html=_to_html(sentence, headline, sections, pictures, whose),
    )


def _to_markdown(sentence: str, sections: Sequence[Section]) -> str:
    parts = [f"# Model card: {MODEL}", sentence]
    for section in sections:
        parts += [f"## {section.title}", *section.text]
        parts += ["\n".join(f"- {point}" for point in section.points)] if section.points else []
        parts += [table.markdown().strip() for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _to_html(
    sentence: str, headline: Mapping[str, str], sections: Sequence[Section], pictures: Mapping[str, bytes], whose: str
) -> str:
    facts_shown = {
        "model": MODEL,
        "sentence": sentence,
        "headline": headline,
        "whose": whose,
        "sections": sections,
        "pictures": [{"src": embed_picture_in_page(png, "png"), "alt": said} for said, png in pictures.items()],
    }
    return render_page("bcd.bundle.card", "card.html.j2", facts_shown)
