"""Each channel has a page with the meaning of its answers."""

from __future__ import annotations

from include.skillreport.messaging.channels import CHANNELS
from tests.airflow_installation import PROJECT


def test_each_channel_has_a_page_with_its_answers() -> None:
    pages = PROJECT / "docs" / "channels"
    assert sorted(page.stem for page in pages.glob("*.md")) == sorted(CHANNELS)
    for name in CHANNELS:
        assert f"<!-- generated: answers {name} -->" in (pages / f"{name}.md").read_text(encoding="utf-8")


def test_no_meaning_ends_at_a_comma_of_the_yaml() -> None:
    # In a YAML mapping in braces, a text without quotes ends at the first comma.
    meanings = [code.meaning for channel in CHANNELS.values() for code in channel.errors.values()]
    assert [text for text in meanings if text.count("（") != text.count("）")] == []
