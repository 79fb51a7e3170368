"""Reads a bank's file of received transfers, in any known format, and checks its accounts and days. Pure."""

from __future__ import annotations

from datetime import date

from include.skillreport.billing.receivables.bank_csv import parse_bank_csv
from include.skillreport.billing.receivables.file_cells import CellProblem, unusable
from include.skillreport.billing.receivables.transfer import BankFile
from include.skillreport.billing.receivables.zengin import RECORD, is_zengin, parse_zengin
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.errors import ParameterError

MOST_BYTES = 20_000_000  # 100,000 records
_OLDEST_DAYS = 400


def read_bank_file(content: bytes, name: str, settings: BillingSettings, today: date) -> BankFile:
    """The transfers of the file ``name``, in the file's order. ``today`` is the day of the run in Asia/Tokyo.

    A transfer is to an own or virtual account. Its day is not after ``today``, and at most 400 days before it.

    :raises ParameterError: names the file, its records or lines, and the action. Nothing is read in part.
    """
    file = f"銀行のファイル '{name}'"
    if len(content) > MOST_BYTES:
        raise ParameterError(
            f"{file} は {MOST_BYTES // 10**6} MB を超えています。期間を分けて取得してください。"
        )
    bank_file = (
        parse_zengin(content, name)
        if is_zengin(content)
        else parse_bank_csv(content, name, settings.payment_formats)
    )
    unit = RECORD if bank_file.form == "zengin" else "行目"
    problems = []
    known = {*settings.own_accounts, *settings.virtual_accounts}
    for transfer in bank_file.transfers:
        if transfer.account not in known:
            known.add(transfer.account)  # named once
            text = (
                f"{transfer.account} は設定 billing.own_accounts にありません。自社の口座なら加えてください"
            )
            problems.append(CellProblem(transfer.line, "口座", text, unit))
        if not 0 <= (today - transfer.booked_on).days <= _OLDEST_DAYS:
            text = f"{transfer.booked_on} は今日（{today}）より後か、{_OLDEST_DAYS} 日より前です。ファイルを確認してください"
            problems.append(CellProblem(transfer.line, "日付", text, unit))
    if problems:
        raise unusable(file, problems)
    return bank_file
