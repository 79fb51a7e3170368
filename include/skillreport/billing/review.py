"""The findings for the accountant after a run: unbilled tenants and months, and changes since they were billed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from include.skillreport.billing.contract_kinds import KINDS
from include.skillreport.billing.differences import find_differences, first_month
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.entries import credit_text
from include.skillreport.billing.periods import Period
from include.skillreport.billing.second_person import (
    ALONE,
    WAITING_KINDS,
    approval_words,
    approver_words,
)
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.digest import listed, one_line

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class ReviewSection:
    """Findings of one kind, and the action. ``findings`` name the tenant."""

    title: str
    findings: tuple[str, ...]
    advice: str

    def lines(self) -> Iterator[str]:
        """The section in a digest."""
        yield f"■ {self.title}（{len(self.findings)} 件）"
        yield from listed(self.findings, lambda finding: f"・{one_line(finding)}", "・ほか {} 件")
        yield f"→ {self.advice}"


def review(
    platform: psycopg.Connection, terms: Terms, period: Period, execution_id: str
) -> list[ReviewSection]:
    """The findings of a run that billed the month, by section, without empty sections. Acts as ``batch_platform``."""
    month = {"period_start": period.start, "period_end": period.end}
    since = first_month(period)
    if terms.settings.first_month:
        since = max(since, terms.settings.first_month)
    sections = (
        ReviewSection(
            "確定後に使用量が変わった請求",
            tuple(difference.sentence() for difference in find_differences(platform, since)),
            "DAG operate_invoices を対象月とテナントを指定して、操作「差額の翌月への繰越し」、または入金前なら「取消して再発行」、"
            "入金後なら「全額の返還」の後に「請求のやり直し（新番号）」を実行してください",
        ),
        ReviewSection(
            "確認が必要なテナント",
            tuple(
                f"{code}: {text}"
                for code, text in _SQL.execute(platform, "outcomes_for_attention", execution_id=execution_id)
            ),
            "経理が、ボードのテナントの「契約」で文のとおりに直します（アプリの値は管理者）。"
            "直したら、この DAG を同じ業務日で実行してください",
        ),
        ReviewSection(
            "状態が稼働中でなく、契約が続いていて、請求していないテナント",
            tuple(_idle_contracts(platform, terms, month)),
            "契約が終わったならアプリの契約終了日を登録し、続くなら状態を直して、この DAG を同じ業務日で実行してください",
        ),
        ReviewSection(
            "アプリケーションから消えたテナントの、請求していない使用量",
            tuple(_vanished_tenants(platform, since, period)),
            "請求するなら、管理者がアプリにテナントを戻し、この DAG を対象月の業務日で実行してください",
        ),
        ReviewSection(
            "前の月から保留か未確定のままの請求",
            tuple(
                f"{row['tenant_code']} の {row['period_start']:%Y-%m} 分 {row['total']:,f} {row['currency']}"
                f"（{row['hold_reason'] or '確定できない理由は、その月の実行の結果にあります'}）"
                for row in _SQL.rows(platform, "held_invoices", since=since, period_start=period.start)
            ),
            "DAG operate_invoices を対象月とテナントを指定して、操作「保留中の請求の承認」か「請求書の取消」で実行してください",
        ),
        _waiting_credits(platform, terms, since, period),
        _approved_alone(platform, terms, month),
        _texts_without_approval(platform, month),
        ReviewSection(
            "使用量が締まっているのに、請求を実行していない月",
            tuple(
                f"{row['month_start']:%Y-%m}"
                for row in _SQL.rows(platform, "months_without_a_run", since=since, period_start=period.start)
            ),
            "この DAG を、その月の業務日で実行してください",
        ),
        _forgotten_lines(platform, period),
    )
    return [section for section in sections if section.findings]


def _forgotten_lines(platform: psycopg.Connection, period: Period) -> ReviewSection:
    return ReviewSection(
        "どの請求書にも載っていない個別明細",
        tuple(
            f"{row['tenant_code']} {row['charged_on']}「{row['description']}」{row['amount']:,f} {row['currency']}"
            f"（登録者 {row['entered_by']}）"
            for row in _SQL.rows(platform, "forgotten_lines", period_end=period.end)
        ),
        "DAG operate_invoices の「個別明細の取り消し」の後に、まだ確定していない月の日付で「個別明細の追加」をしてください。"
        "取消か全額返還をした月なら「請求のやり直し（新番号）」を実行してください",
    )


def _waiting_credits(
    platform: psycopg.Connection, terms: Terms, since: date, period: Period
) -> ReviewSection:
    setting = terms.settings.second_person
    rows = _SQL.rows(platform, "credits_to_approve", since=since, period_start=period.start)
    return ReviewSection(
        f"{approval_words(setting, '他の人の')}を待つ返還と貸倒れ",
        tuple(f"{row['tenant_code']} の {row['period_start']:%Y-%m} 分{credit_text(row)}" for row in rows),
        f"{approver_words(setting, '登録した人以外が')}、DAG operate_invoices を対象月とテナントを指定して、操作「保留中の請求の承認」か"
        "「承認待ちの返還の取り下げ」で実行してください",
    )


def _approved_alone(platform: psycopg.Connection, terms: Terms, month: dict[str, date]) -> ReviewSection:
    labels = {kind: words.label for kind, words in WAITING_KINDS.items()}
    labels |= {name: kind.title for name, kind in KINDS.items()}
    rows = _SQL.rows(platform, "approved_alone", mark=ALONE, **month)
    entries = tuple(
        " ".join(
            [
                f"{row['tenant_code']} の{labels[row['kind']]}"
                if row["tenant_code"]
                else labels[row["kind"]],
                *([row["entry_text"]] if row["entry_text"] else []),
                *([f"{row['amount']:,f} {row['currency']}"] if row["amount"] is not None else []),
            ]
        )
        + f"（{row['approved_by'].removesuffix(ALONE)}）"
        for row in rows
    )
    is_alone = terms.settings.second_person == "none"
    setting = "設定 billing.second_person は none です。ほかの人は登録を見ていません。" if is_alone else ""
    return ReviewSection(
        "登録した人が 1 人で承認したもの",
        entries,
        f"{setting}それぞれの金額を、契約書などの証拠と比べてください",
    )


def _texts_without_approval(platform: psycopg.Connection, month: dict[str, date]) -> ReviewSection:
    return ReviewSection(
        "承認を待たずに取引先へ出た文",
        tuple(
            f"{row['tenant_code']} の{row['label']}「{row['free_text']}」（登録者 {row['author']}）"
            for row in _SQL.rows(platform, "texts_without_approval", mark=ALONE, **month)
        ),
        "心当たりのない文があれば、登録した人に確かめ、請求書なら DAG operate_invoices の「訂正」で直してください",
    )


def _idle_contracts(platform: psycopg.Connection, terms: Terms, month: dict[str, date]) -> Iterator[str]:
    try:
        plans = terms.price_list.version_for(month["period_start"]).plans
    except BillingError:  # every tenant's failure reports the missing price list
        return
    for row in _SQL.rows(platform, "idle_contracts", **month):
        plan = plans.get(row["plan"] or "")
        if plan is None or plan.billable:
            yield (
                f"{row['tenant_code']}: 状態 {row['status']}、プラン {row['plan'] or '未設定'}、契約は {row['contract_start']} から"
                "（終了日なし）、この月の利用なし"
            )


def _vanished_tenants(platform: psycopg.Connection, since: date, period: Period) -> Iterator[str]:
    for row in _SQL.rows(platform, "vanished_tenants", since=since, period_end=period.end):
        yield (
            f"{row['tenant_id']}: {row['month_start']:%Y-%m} の締め済み {row['days']} 日（利用者数は最大 {row['most_users']} 人）"
        )
