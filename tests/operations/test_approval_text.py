"""The text of a long request: an answer applies only to the items that the text shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from include.skillreport.approvals import APPROVE
from include.skillreport.approvals.requests import LISTED, ApprovalRequest, HeldItem, RequestKind
from include.skillreport.approvals.wording import body_of
from include.skillreport.core.errors import ParameterError
from include.skillreport.operations.answers import approved_tenants
from tests.worlds.approval_rows import BOARD

REQUEST = ApprovalRequest("r", RequestKind.INVOICES, date(2026, 10, 1), "run", "approve_invoices", "r")


def item(number: int, item_id: str = "", tenant: int | None = None) -> HeldItem:
    tenant_id = f"T{number if tenant is None else tenant:04}"
    figures = {"month": "2026-10", "total": "100", "currency": "JPY"}
    return HeldItem(
        tenant_id, item_id or f"I{number}", f"CODE{tenant_id}", "会社", "run", "f", figures, "理由"
    )


def test_an_answer_for_all_approves_only_what_the_text_shows() -> None:
    items = [item(number) for number in range(LISTED + 3)]

    body = body_of(REQUEST, list(reversed(items)), BOARD)
    approved = approved_tenants(items, APPROVE, [])

    assert approved == {each.tenant_id for each in items if f"| {each.tenant_code} |" in body}
    assert len(approved) == LISTED
    assert "ほか 3 件は、この一覧にないので保留のままです。" in body
    assert "DAG approve\\_invoices を手で実行" in body
    with pytest.raises(ParameterError, match="この承認依頼の一覧にありません"):
        approved_tenants(items, APPROVE, [items[-1].tenant_code])


def test_a_tenant_is_listed_with_all_its_items_or_not_at_all() -> None:
    items = [item(number) for number in range(LISTED - 1)]
    items += [item(LISTED, "slack", tenant=LISTED), item(LISTED + 1, "teams", tenant=LISTED)]

    assert items[-1].tenant_id not in approved_tenants(items, APPROVE, [])
    assert items[-1].tenant_code not in body_of(REQUEST, items, BOARD)


def test_a_short_request_does_not_speak_of_others() -> None:
    assert "ほか" not in body_of(REQUEST, [item(1)], BOARD).replace("ほかは保留のままです", "")


@pytest.mark.parametrize(
    ("kind", "item_id", "figures", "link"),
    [
        (RequestKind.INVOICES, "i/1", {}, "[CODET0001](B/invoices/i%2F1)"),
        (
            RequestKind.CONTRACTS,
            "c1",
            {"kind": "discount", "changed": ["value"]},
            "[CODET0001](B/tenants/T0001/contract)",
        ),
        (RequestKind.CONTRACTS, "T0001", {"kind": "import", "changed": []}, "[一覧](B/contracts)"),
        (RequestKind.DIRECTORY_CHANGES, "slack", {}, "[CODET0001](B/tenants/T0001)"),
    ],
)
def test_the_text_leads_back_to_the_page_of_each_item(
    kind: RequestKind, item_id: str, figures: dict[str, object], link: str
) -> None:
    request = replace(REQUEST, kind=kind)
    listed = item(1, item_id)
    listed = replace(listed, figures={**listed.figures, "rows": 1, "entered_by": "a", **figures})
    assert f"ボードで見る: {link}\n" in body_of(request, [listed], "B")
