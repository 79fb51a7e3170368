"""The pages of docs/accounting/ name each column of the files."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from include.skillreport.billing.accounting import detailed_list, document_index, freee, journal
from include.skillreport.billing.accounting.ageing_file import AGEING_COLUMNS
from include.skillreport.billing.receivables.payment_file import PAYMENT_COLUMNS
from include.skillreport.billing.settings import BillingSettings
from local_stack.stack import PROJECT


@pytest.mark.parametrize(
    ("page", "heading", "columns"),
    [
        ("files", "一覧（accounting）の列", detailed_list.COLUMNS),
        ("files", "仕訳（journal）の列", journal.COLUMNS),
        # The page has no line about the columns that stay empty.
        ("files", "freee（21 列）", (*freee.COLUMNS[:14], *freee.COLUMNS[18:])),
        ("documents", "ファイルで探す", document_index.INDEX_COLUMNS),
        ("payments", "売掛金の年齢表", AGEING_COLUMNS),
    ],
)
def test_the_page_names_the_columns(page: str, heading: str, columns: tuple[str, ...]) -> None:
    section = _section(page, heading)
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    named = {name for cell in cells for name in cell.split("、")}
    assert [column for column in columns if column not in named] == []


def test_the_page_says_what_each_source_of_payments_allows() -> None:
    introduction = (PROJECT / "docs/accounting/payments.md").read_text(encoding="utf-8").partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`.*? \|", introduction, re.MULTILINE)
    sources = get_args(BillingSettings.model_fields["payment_source"].annotation)
    assert sorted(rows) == sorted({"payment_source", *sources})


def test_the_example_of_a_payment_file_has_its_header() -> None:
    assert f"```csv\n{','.join(PAYMENT_COLUMNS)}\n" in _section("payments", "入金ファイル")


def _section(page: str, heading: str) -> str:
    text = (PROJECT / f"docs/accounting/{page}.md").read_text(encoding="utf-8")
    match = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    assert match, heading
    return match[1]
