"""Decides whether a month can be handed over: it is billed, no tenant has failed, no draft is held, and no transfer waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg

from include.skillreport.billing import bank_inbox
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.periods import Period
from include.skillreport.billing.terms import Terms
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.digest import listed, one_line
from include.skillreport.core.execution.object_store import ObjectStore

_SQL = Statements(Path(__file__).parents[1])

_LATER = "後で確定した請求は、会計データを確定していない最初の日に計上します"


@dataclass(frozen=True)
class Accepted:
    """What the user who hands a month over accepts: failed tenants, held drafts and waiting transfers are left out.

    ``earlier_months``: the first hand-over closes earlier months, whose documents the accountant has from another system or version.
    """

    earlier_months: bool = False
    failed_tenants: bool = False
    held_drafts: bool = False
    waiting_transfers: bool = False


NOTHING_ACCEPTED = Accepted()


def billed_month(month: date, terms: Terms) -> date:
    """The first day of the month whose invoices are booked in an accounting month."""
    if terms.settings.accounting.booked_on == "period_end":
        return month
    # The invoices of a month are issued in the next one.
    return Period.month_of(Period.month_of(month).previous_day).start


def require_billed(platform: psycopg.Connection, month: date, terms: Terms, accepted: Accepted) -> None:
    """Check that the invoices of an accounting month are complete. A month before the first month to bill has none.

    A run of all tenants must have ended. Tenants that a later run or operation settled are not failed.
    :raises BillingError: there is no run, a run is unfinished or failed, tenants failed, or drafts are held. It names the action.
    """
    billed = billed_month(month, terms)
    first = terms.settings.first_month
    if first is None or billed < first:
        return
    _require_run(platform, month, billed)
    name = f"会計月 {month:%Y-%m} は確定できません。{billed:%Y-%m} 分の"
    failed = _SQL.rows(platform, "unsettled_tenants", billed_month=billed, batch_id=TENANT_BILLING.id)
    if failed and not accepted.failed_tenants:
        tenants = "、".join(
            listed(failed, lambda row: f"{row['tenant_code']}: {one_line(row['reason'])}", "ほか {} 件")
        )
        raise BillingError(
            "MONTH_HAS_FAILED_TENANTS",
            f"{name}請求に失敗したままのテナントが {len(failed)} 件あります（{tenants}）。"
            f"原因を直して消去するか、「失敗したテナントを除いて確定する」を選んでください。{_LATER}",
        )
    held = _SQL.column(platform, "held_tenants", billed_month=billed)
    if held and not accepted.held_drafts:
        tenants = "、".join(listed(held, str, "ほか {} 件"))
        raise BillingError(
            "MONTH_HAS_HELD_INVOICES",
            f"{name}保留中の請求が {len(held)} 件あります（{tenants}）。"
            f"承認するか取り消すか、「保留中の請求を残して確定する」を選んでください。{_LATER}",
        )


def require_transfers_settled(
    platform: psycopg.Connection, month: date, terms: Terms, store: ObjectStore, accepted: Accepted
) -> None:
    """Check that no transfer from before the month's end waits for a user, and that no bank file waits for its import.

    :raises BillingError: names the number and yen of the transfers, the files, and the action.
    """
    if accepted.waiting_transfers or not terms.settings.imports_payments:
        return
    transfers, yen = _SQL.row(platform, "open_transfers_on", day=Period.month_of(month).end)
    folder = bank_inbox.incoming(store, datetime.now(UTC))
    files = [*folder.files, *folder.waiting, *folder.refused]
    waiting = [f"入金になっていない振込が {transfers:,} 件（{yen:,f} 円）"] if transfers else []
    if files:
        names = "、".join(listed(files, one_line, "ほか {} 件"))
        waiting.append(f"取り込んでいない銀行のファイルが {len(files):,} 件（{names}）")
    if waiting:
        raise BillingError(
            "MONTH_HAS_WAITING_TRANSFERS",
            f"会計月 {month:%Y-%m} は確定できません。{'、'.join(waiting)}あります。"
            "ボードの「入金消込」で取り込んで確定するか、「確定待ちの振込を残して確定する」を選んでください。"
            "後で記録した入金は、会計データを確定していない最初の日に計上します",
        )


def require_earlier_billed(
    platform: psycopg.Connection, month: date, terms: Terms, accepted: Accepted, first_open_day: date
) -> None:
    """Check the months that close with an accounting month, because their invoices could no longer be booked in them.

    At the first hand-over, these are the months with usage and without an invoice; ``accepted.earlier_months`` accepts them.
    :raises BillingError: as ``require_billed``.
    """
    if first_open_day > date.min:
        while first_open_day < month:
            require_billed(platform, first_open_day, terms, accepted)
            first_open_day = Period.month_of(first_open_day).next_day
        return
    first = terms.settings.first_month
    if first is None or accepted.earlier_months:
        return
    unbilled = _SQL.column(
        platform, "months_without_a_run", since=first, period_start=billed_month(month, terms)
    )
    if unbilled:
        raise _not_billed(month, unbilled[0])


def _require_run(platform: psycopg.Connection, month: date, billed: date) -> None:
    """Check that a run of all tenants has ended, and that no run is in progress."""
    runs = _SQL.rows(platform, "runs_of_month", billed_month=billed, batch_id=TENANT_BILLING.id)
    name = f"会計月 {month:%Y-%m} は確定できません。{billed:%Y-%m} 分の {TENANT_BILLING.id} "
    working = next((run for run in runs if run["is_working"]), None)
    if working:
        raise BillingError(
            "MONTH_RUN_RUNNING",
            f"{name}が実行中です（{working['dag_id']} の {working['run_id']}）。終わってから、もう一度実行してください。"
            "止まっているなら、その実行を消去してください",
        )
    if any(run["covers_all"] for run in runs):
        return
    failed = next(iter(runs), None)
    if failed:
        raise BillingError(
            "MONTH_RUN_UNFINISHED",
            f"{name}が、全テナントでは終わっていません（{failed['dag_id']} の {failed['run_id']}）。"
            f"原因を直して消去するか、業務日 {billed} で、テナントを指定せずに実行してください",
        )
    raise _not_billed(month, billed)


def _not_billed(month: date, billed: date) -> BillingError:
    return BillingError(
        "MONTH_NOT_BILLED",
        f"会計月 {month:%Y-%m} は確定できません。{billed:%Y-%m} 分の {TENANT_BILLING.id} を実行していません。"
        f"DAG {TENANT_BILLING.dag_id} を業務日 {billed} で実行してください",
    )
