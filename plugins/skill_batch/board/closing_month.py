"""What the hand-over of an accounting month will finalise, for its dialog: the month's provisional list. The run's own writer wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from skill_batch.board.access import Rights
from skill_batch.board.actions import Action
from skill_batch.board.archived_files import read_recorded
from skill_batch.board.database import BoardDatabase
from skill_batch.board.foreseen import Decision, ForeseenChange
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.store_access import ArchivedFileError
from include.skillreport.billing.accounting.detailed_list import detailed_list, listed_kinds
from include.skillreport.billing.accounting.files import file_key
from include.skillreport.billing.accounting.months import require_over
from include.skillreport.billing.actions.hand_over import HandOver
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.foreseen import ACCOUNTING_MONTH, CLOSED, Foreseen
from include.skillreport.core.catalog import TENANT_BILLING

_NO_LIST = "未確定のファイルがありません。この月に書類がないか、まだ書いていません。"
_CHANGES = "最後の未確定のファイルの内容です。その後に変わった書類は、結果に出ます。"


def foresee_closing(
    database: BoardDatabase, rights: Rights, action: Action, texts: Mapping[str, Sequence[str]], today: date
) -> list[ForeseenChange]:
    """The entries of the dialog's month. Call it without a connection, because the store may be slow.

    Empty: the action closes no month, none is entered yet, or the user may not see its files.
    """
    if (
        action.operation is not HandOver
        or action.problems(texts)
        or not rights.may_read(TENANT_BILLING.dag_id)
    ):
        return []
    month = HandOver.so_far(action.given(texts)).accounting_month
    if month is None:
        return []
    with database.read() as connection:
        closed = _SQL.rows(connection, "accounting_files", since=month, month=month, execution_id=None)
        written = _SQL.rows(connection, "provisional_files", since=month, month=month)
    if closed:
        return [
            ForeseenChange(
                "", problem=f"会計月 {month:%Y-%m} は {closed[0]['handed_over_by']} が確定済みです。"
            )
        ]
    try:
        require_over(month, today)
        included, note = _listed(month, written)
    except BillingError as error:
        return [ForeseenChange("", problem=str(error))]
    value = Foreseen(f"{month:%Y-%m}", ACCOUNTING_MONTH, *CLOSED, in_words=True)
    return [ForeseenChange("", [value], decision=Decision(""), included=included, note=note)]


def _listed(month: date, written: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, int, int]], str]:
    key = file_key(detailed_list(), month, is_final=False)
    row = next((each for each in written if each["key"] == key), None)
    if row is None:
        return [], _NO_LIST
    try:
        return listed_kinds(read_recorded(key, row["sha256"], row["bytes"])), _CHANGES
    except ArchivedFileError as error:
        # The month can be closed without it.
        return [], str(error)
