"""The answer to a request, as the options of the run that applies it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from include.skillreport.approvals import APPROVE, DISCARD_ALL, HOLD, NEW_HOURS, SEND_ALL, SEND_NEW
from include.skillreport.approvals.requests import ApprovalRequest, HeldItem, items_of, listed_items
from include.skillreport.core.errors import AnswerError, ParameterError
from include.skillreport.core.execution.batch import Request, TenantBatch
from include.skillreport.core.execution.sharding import Tenant

# Why a request is out of date.
SUPERSEDED = "この承認依頼より新しい承認依頼（Required Actions）があります。新しい方に答えてください"

# For an item whose answer was already applied.
APPLIED = "この答えは、もう反映しています"

# A year.
_MOST_HOURS = 8_784


class AppliesAnswer(TenantBatch):
    """Works on the approved tenants. If the request stays on hold, there are none.

    The values are ``request`` (its id), ``answer`` (one of the options), ``tenants`` (codes; empty: all), ``note``, and ``confirmed``: the
    user's typed confirmations of own entries (``second_person.Approver``).
    """

    def options(self, request: Request) -> dict[str, Any]:
        """``request``, ``note`` and ``confirmed``. The database contains the request's item of a tenant."""
        return {
            "request": str(request.values["request"]),
            "note": str(request.values.get("note") or ""),
            "confirmed": list(request.values.get("confirmed") or ()),
        }

    def found_tenants(self, request: Request) -> Collection[str]:
        """The ids of the approved tenants, with any status. :raises ParameterError: the request does not list a code."""
        return approved_tenants(self._items(request), str(request.values["answer"]), request.codes)

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """All listed tenants, so that tenants deleted since then get an outcome, too."""
        return [
            Tenant(tenant_id, code, name)
            for tenant_id, (code, name) in {
                item.tenant_id: (item.tenant_code, item.tenant_name) for item in self._items(request)
            }.items()
        ]

    def _items(self, request: Request) -> list[HeldItem]:
        return items_of(request.platform, str(request.values["request"]))


def approved_tenants(items: Sequence[HeldItem], answer: str, codes: Sequence[str]) -> set[str]:
    """The ids of the tenants that the answer approves. ``codes`` are codes or ids of listed tenants; empty: all listed tenants.

    Items that the request's text does not show are not approved.

    :raises AnswerError: the answer is no option, or the request lists no tenant, or several tenants, with such a code.
    """
    if answer not in (APPROVE, HOLD):
        raise AnswerError(f"答え {answer!r} は使えません。「{APPROVE}」か「{HOLD}」を選んでください。")
    listed = listed_items(items)
    found = {
        code: {item.tenant_id for item in listed if code in (item.tenant_id, item.tenant_code)}
        for code in codes
    }
    unknown = sorted(code for code, tenant_ids in found.items() if not tenant_ids)
    if unknown:
        raise AnswerError(
            f"テナントコード {'、'.join(repr(code) for code in unknown)} は、この承認依頼の一覧にありません。"
        )
    for code, tenant_ids in found.items():
        if len(tenant_ids) > 1:
            raise AnswerError(
                f"テナントコード {code!r} のテナントが複数あります。テナント ID で指定してください: {'、'.join(sorted(tenant_ids))}"
            )
    if answer == HOLD:
        return set()
    return set().union(*found.values()) if codes else {item.tenant_id for item in listed}


def require_resumption_answer(option: Any, hours: Any) -> tuple[str, int]:
    """The answer to 「再開の承認」, and the age in hours of the messages that ``SEND_NEW`` sends.

    :raises AnswerError: the answer is no option, or the hours are no whole number from 1 to a year.
    """
    if option not in (SEND_ALL, SEND_NEW, DISCARD_ALL):
        raise AnswerError(
            f"答え {option!r} は使えません。「{SEND_ALL}」「{SEND_NEW}」「{DISCARD_ALL}」から選んでください。"
        )
    hours = NEW_HOURS if hours is None else hours
    if not isinstance(hours, int) or not 0 < hours <= _MOST_HOURS:
        raise AnswerError(
            f"時間（hours）{hours!r} は使えません。1 から {_MOST_HOURS} までの整数を指定してください。"
        )
    return option, hours


def require_kind(request: ApprovalRequest, kind: str, *, dag_id: str, run_id: str) -> None:
    """Check the request. :raises ParameterError: it has another subject, or belongs to another run."""
    if request.kind != kind or (request.dag_id, request.run_id) != (dag_id, run_id):
        raise ParameterError(
            f"承認依頼 '{request.request_id}' は、DAG {request.dag_id} の実行 {request.run_id} のものです。そこで答えてください。"
            "「承認依頼のID」（request）を空欄にして実行すると、今保留中のものを確認できます。"
        )
