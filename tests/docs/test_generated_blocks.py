"""README and pages repeat the registry word for word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.generated_blocks import DOCS, PAGES, SITE_ONLY, generated, renewed

UPDATE = "UPDATE_SNAPSHOTS"


def test_the_generated_parts_of_the_pages_are_what_the_registry_says() -> None:
    made = {page: renewed(page) for page in PAGES}
    if os.environ.get(UPDATE):
        for page, text in made.items():
            page.write_text(text, encoding="utf-8")
    stale = [page.name for page, text in made.items() if page.read_text(encoding="utf-8") != text]
    assert stale == [], f"{UPDATE}=1 writes these pages"


@pytest.mark.parametrize("name", sorted(SITE_ONLY))
def test_a_table_of_the_reference_is_in_the_site_only(name: str) -> None:
    page = DOCS / "reference" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    assert f"<!-- generated: {name} -->\n" in text
    assert len(text) < 2_000 < len(generated(text, page))


def test_a_page_with_an_unknown_block_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: nothing -->\n<!-- end -->\n", encoding="utf-8")
    with pytest.raises(KeyError, match="nothing"):
        renewed(page)
