"""The reference of the documentation has the meaning of each channel's answers."""

from __future__ import annotations

from include.skillreport.messaging.channels import CHANNELS
from tests.docs.generated_blocks import DOCS, generated


def test_the_reference_has_the_answers_of_each_channel() -> None:
    page = DOCS / "reference" / "answers.md"
    sections = generated(page.read_text(encoding="utf-8"), page).split("\n## ")[1:]
    for channel, section in zip(CHANNELS.values(), sections, strict=True):
        assert section.startswith(f"{channel.label}\n")
        assert [code for code in channel.errors if f"| `{code}` |" not in section] == []


def test_no_meaning_ends_at_a_comma_of_the_yaml() -> None:
    # In a YAML mapping in braces, a text without quotes ends at the first comma.
    meanings = [code.meaning for channel in CHANNELS.values() for code in channel.errors.values()]
    assert [text for text in meanings if text.count("（") != text.count("）")] == []
