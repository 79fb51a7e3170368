"""The calculation of an invoice on its page: each line with its steps, down to the closed days."""

from __future__ import annotations

import re
from decimal import Decimal

import psycopg

from tests.board.conftest import Board


def rows_of(text: str) -> list[list[str]]:
    """The rows of the fragment's tables, as texts."""
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    ]


def test_an_amount_is_explained_down_to_the_closed_days(
    board: Board, host: psycopg.Connection, ids: dict[str, str]
) -> None:
    viewer = board.as_role("viewer")
    page = viewer.get(f"/invoices/{ids['A']}").text
    address = f"/invoices/{ids['A']}/calculation"
    assert f'hx-get="/skill-batch-board{address}"' in page

    text = viewer.get(address).text

    rows = rows_of(text)
    stored = host.execute(
        "SELECT usage_date::text, active_users, revision FROM batch.usage_day"
        " WHERE tenant_id = 'A' AND usage_date BETWEEN '2026-10-01' AND '2026-10-31' ORDER BY 1"
    ).fetchall()
    days = [row for row in rows if re.fullmatch(r"2026-10-\d\d", row[0])]
    assert [(row[0], row[-1]) for row in days] == [(day, str(revision)) for day, _, revision in stored]
    title = next(row for row in rows if row[0] == "日")
    place = next(number for number, cell in enumerate(title) if cell == "アクティブユーザー")
    assert [row[place] for row in days] == [f"{users:,}" for _, users, _ in stored]
    (subtotal,) = host.execute(
        "SELECT content ->> 'subtotal' FROM batch.invoice WHERE invoice_id = %s", [ids["A"]]
    ).fetchall()[0]
    lines = [row for row in rows if row[0].isdecimal() or row[0] == "–"]
    assert sum(Decimal(row[-1].replace(",", "")) for row in lines) == Decimal(subtotal)


def test_the_calculation_is_in_the_readers_language_and_has_no_address(
    board: Board, ids: dict[str, str], reader: psycopg.Connection
) -> None:
    text = board.get(f"/invoices/{ids['USD']}/calculation", headers={"Accept-Language": "en"}).text
    assert "Standard plan: base fee" in text
    assert not re.search("[\u3041-\u30ff\u4e00-\u9fff]", text)
    assert "keiri@customer.example" not in str(
        reader.execute("SELECT * FROM batch.board_calculation").fetchall()
    )


def test_a_credit_note_has_no_calculation(board: Board, host: psycopg.Connection) -> None:
    row = host.execute(
        "SELECT invoice_id FROM batch.invoice WHERE kind = 'credit' AND tenant_id = 'PART'"
    ).fetchone()
    assert row is not None
    assert "calculation" not in board.get(f"/invoices/{row[0]}").text
    assert board.get(f"/invoices/{row[0]}/calculation").status_code == 404
    assert board.get("/invoices/none/calculation").status_code == 404
