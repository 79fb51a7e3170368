"""English pages about invoices and payments have no Japanese but the names and the sentences of the data."""

from __future__ import annotations

import pytest

from tests.board.conftest import Board
from tests.board.crawler import japanese_outside_data, pages

ENGLISH = {"skill_batch_language": "en"}


@pytest.mark.slow("opens every page or dialog")
def test_every_page_about_invoices_is_english(board: Board) -> None:
    starts = ("/invoices?month=2026-10", "/documents", "/receivables", "/transfers", "/contracts")
    left = {
        (text, path.split("?")[0])
        for path, page in pages(board, *starts, most=150, cookies=ENGLISH)
        for text in japanese_outside_data(page)
    }
    assert not left, sorted(left)
