"""Each picture of docs/images is on a page, and shows the templates as they are."""

from __future__ import annotations

import re
from pathlib import PurePath

from tests.airflow_installation import PROJECT
from tests.docs.generated_blocks import DOCS
from tests.docs.picture_templates import IMAGES, PICTURES, changes, digests


def test_each_picture_is_on_a_page() -> None:
    pages = [PROJECT / "README.md", *DOCS.rglob("*.md")]
    texts = "".join(page.read_text(encoding="utf-8") for page in pages)
    shown = set(re.findall(r"!\[[^\]]*\]\((?:docs/|\.\./)*images/([^)]+)\)", texts))
    assert shown == set(PICTURES) == {file.name for file in IMAGES.glob("*.png")}


def test_no_template_has_changed_since_the_pictures_were_made() -> None:
    assert not changes(), "`make pictures` makes the pictures again"


def test_a_picture_depends_on_its_page_and_what_the_page_uses() -> None:
    names = {PurePath(path).name for path in digests("board-last-night.png")}
    assert names == {"overview.html", "base.html", "parts.html", "night.html", "board.css"}
