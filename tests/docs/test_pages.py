"""The README stays short, and the site's navigation names every page once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.airflow_installation import PROJECT
from tests.docs.generated_blocks import DOCS

MOST_WORDS = 1_500


def _pages(entries: list[Any]) -> list[str]:
    return [
        page
        for entry in entries
        for page in (
            [entry]
            if isinstance(entry, str)
            else [
                page
                for part in entry.values()
                for page in ([part] if isinstance(part, str) else _pages(part))
            ]
        )
    ]


def test_the_navigation_of_the_site_names_every_page_once() -> None:
    site = tomllib.loads((PROJECT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(_pages(site["project"]["nav"])) == sorted(
        page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")
    )


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) < MOST_WORDS


def _text(page: Path) -> str:
    """The text of a page, without the pages that its recipes show."""
    return re.sub(r"^````.*?^````$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_no_page_leads_out_of_the_documentation() -> None:
    # The site has only the pages.
    leading_out = [
        (page.name, link)
        for page in DOCS.rglob("*.md")
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", _text(page))
        if not (page.parent / link).resolve().is_relative_to(DOCS)
    ]
    assert leading_out == []
