"""The hand-over of an accounting month, and its report for the log and the board."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from include.skillreport.billing.accounting.months import HandedOverMonth
from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import RunRemark, Work
from include.skillreport.core.execution.run_remarks import record_remark
from include.skillreport.operations.operate_invoices import form

log = logging.getLogger(__name__)

# The remark lists this many changes and counts the others. The column changes of batch.accounting_month has all of them.
_LISTED = 50
_CHANGED = "最後の未確定ファイルから変わった書類"


def hand_over(billing: Billing, work: Work, entered: form.HandOver) -> None:
    """Hand the month over, and report its files and what changed since the last provisional ones."""
    run = work.run
    month = billing.hand_over(
        work.connection,
        entered.accounting_month,
        run_date=run.run_date,
        actor=run.person,
        execution_id=run.execution_id,
        store=work.files,
        accepted=Accepted(
            earlier_months=entered.earlier_months,
            failed_tenants=entered.without_failed,
            held_drafts=entered.with_held,
        ),
    )
    report = dict(_report(month))
    for name, text in report.items():
        log.info("%s: %s", name, text)
    record_remark(work.connection, run, "hand_over", RunRemark(report), month.handed_over_at)


def _report(month: HandedOverMonth) -> Iterator[tuple[str, str]]:
    yield "会計月", f"{month.month:%Y-%m}"
    for each in month.earlier:
        totals = "、".join(
            f"{file.name} {file.rows:,} 行、売掛金の合計 {file.yen:,} 円" for file in each.files[:1]
        )
        yield f"まとめて閉じた会計月 {each.month:%Y-%m}", f"{totals}。{_CHANGED}: {_changes(each)}"
    for file in month.files:
        yield file.name, f"{file.rows:,} 行、売掛金の合計 {file.yen:,} 円、SHA-256 {file.sha256}"
    yield _CHANGED, _changes(month)


def _changes(month: HandedOverMonth) -> str:
    if month.changes is None:
        return "未確定ファイルがなかったため、比べていません"
    if not month.changes:
        return "なし"
    sentences = [change.sentence() for change in month.changes[:_LISTED]]
    more = len(month.changes) - len(sentences)
    return f"{len(month.changes)} 件。" + "、".join([*sentences, *([f"ほか {more} 件"] if more else [])])
