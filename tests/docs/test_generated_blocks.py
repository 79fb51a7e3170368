"""README and pages repeat the registry word for word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.docs.generated_blocks import PAGES, renewed

UPDATE = "UPDATE_SNAPSHOTS"


def test_the_generated_parts_of_the_pages_are_what_the_registry_says(shared_database: Database) -> None:
    with shared_database.connect() as connection:
        made = {page: renewed(page, connection) for page in PAGES}
    if os.environ.get(UPDATE):
        for page, text in made.items():
            page.write_text(text, encoding="utf-8")
    stale = [page.name for page, text in made.items() if page.read_text(encoding="utf-8") != text]
    assert stale == [], f"{UPDATE}=1 renews these pages"


def test_a_page_with_an_unknown_block_is_refused(tmp_path: Path, shared_database: Database) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: nothing -->\n<!-- end -->\n", encoding="utf-8")
    with shared_database.connect() as connection, pytest.raises(KeyError, match="nothing"):
        renewed(page, connection)
