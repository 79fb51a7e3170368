"""Closes an accounting month, with a report for the log and the board."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from include.skillreport.billing.actions.action import Action, Desk
from include.skillreport.billing.actions.fields import (
    AccountingMonth,
    EarlierMonths,
    WithHeld,
    WithoutFailed,
    WithWaiting,
)
from include.skillreport.core.form import NOTHING_YET, described

if TYPE_CHECKING:
    from include.skillreport.billing.accounting.months import HandedOverMonth

log = logging.getLogger(__name__)

# The note lists this many changes and counts the others. batch.accounting_month has all in its column changes.
_LISTED = 50
_CHANGED = "最後の未確定ファイルから変わった書類"


@described("hand_over", "会計データの確定")
class HandOver(Action):
    """その月の会計ファイルを確定します。やり直せません（誤りは、確定していない月の取消か返還で訂正します）。会計ソフトに取り込むのは、この後のファイルだけです。"""

    shows = NOTHING_YET
    of_month = False
    needs_nobody = True
    accounting_month: AccountingMonth
    earlier_months: EarlierMonths = False
    without_failed: WithoutFailed = False
    with_held: WithHeld = False
    with_waiting: WithWaiting = False

    def finish(self, desk: Desk) -> None:
        """Close the month, and report its files and the changes since the last provisional ones."""
        from include.skillreport.billing.accounting.readiness import Accepted
        from include.skillreport.core.execution.batch import RunRemark
        from include.skillreport.core.execution.run_remarks import record_remark

        run = desk.run
        month = desk.billing.hand_over(
            desk.connection,
            self.accounting_month,
            run_date=run.run_date,
            actor=run.person,
            execution_id=run.execution_id,
            store=desk.work.files,
            accepted=Accepted(
                earlier_months=self.earlier_months,
                failed_tenants=self.without_failed,
                held_drafts=self.with_held,
                waiting_transfers=self.with_waiting,
            ),
        )
        report = dict(_report(month))
        for name, text in report.items():
            log.info("%s: %s", name, text)
        record_remark(desk.connection, run, "hand_over", RunRemark(report), month.handed_over_at)


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
        return "未確定ファイルがないか、書いた後に内容が変わっているため、比べていません"
    if not month.changes:
        return "なし"
    sentences = [change.sentence() for change in month.changes[:_LISTED]]
    more = len(month.changes) - len(sentences)
    return f"{len(month.changes)} 件。" + "、".join([*sentences, *([f"ほか {more} 件"] if more else [])])
