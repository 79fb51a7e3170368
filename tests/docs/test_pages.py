"""README is the list of all pages and stays short, and the site loads nothing from another host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.generated_blocks import DOCS
from tests.docs.site import MEASURED, README, listed_pages, text_of, with_script_files
from tests.docs.words import found_words

MOST_WORDS = 450


def test_readme_lists_every_page_once() -> None:
    listed = [page for pages in listed_pages().values() for _, page in pages]
    assert sorted(listed) == sorted([*DOCS.rglob("*.md"), MEASURED])


def test_readme_is_short_beside_its_list() -> None:
    before, _, listed = README.read_text(encoding="utf-8").partition("\n## Documentation\n")
    _, _, after = listed.partition("\n## ")
    assert len([*before.split(), *after.split()]) <= MOST_WORDS


def _text(page: Path) -> str:
    """The text of a page, without the pages that its recipes show."""
    return re.sub(r"^````.*?^````$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_no_page_leads_out_of_the_documentation() -> None:
    # The site has only the pages.
    leading_out = [
        (page.name, link)
        for page in DOCS.rglob("*.md")
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", _text(page))
        if not (target := (page.parent / link).resolve()).is_relative_to(DOCS) and target != MEASURED
    ]
    assert leading_out == []


def test_a_page_of_the_site_has_its_tables_links_and_diagrams(tmp_path: Path) -> None:
    page = DOCS / "reference" / "example.md"
    written = tmp_path / "example.md"
    written.write_text(
        "[a](../try.md#x) [b](../../benchmarks/README.md#y) [c](../examples/run.py) [d](https://example.jp)\n"
        '```mermaid\nflowchart LR\n  A["begin"] -->|yes| B{end}\n  B -.-> A\n```\n'
        "見て、\n直す。\n- 次\n",
        encoding="utf-8",
    )
    assert text_of(written, page) == (
        "[a](../try.md#x) [b](../measured.md#y) [c](../examples/run.py.txt) [d](https://example.jp)\n"
        "- begin → end (yes)\n- end → begin\n見て、直す。\n- 次\n"
    )


def test_the_scripts_of_a_page_become_files() -> None:
    page = Path("operate/night.html")
    html, ((name, script),) = with_script_files("<p><script>var a</script><script>var a</script></p>", page)
    assert script == "var a"
    tag = f'<script src="../assets/javascripts/{name}"></script>'
    assert html == f"<p>{tag}{tag}</p>"
    with pytest.raises(SystemExit, match="another host"):
        with_script_files('<link rel="stylesheet" href="https://example.jp/a.css">', page)


def test_the_linter_finds_private_words_outside_of_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Mend it; a\nperson was `told` [so](anew.md).\n\n```sh\nremark\n```\n適格返還請求書と返還請求書。\n",
        encoding="utf-8",
    )
    assert [hit.partition(" → ")[0] for hit in found_words(page)] == [
        "page.md:1: Mend",
        "page.md:1: a person",
        "page.md:7: 返還請求書",
    ]
