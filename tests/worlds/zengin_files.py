"""Files of received transfers as banks write them (全銀 振込入金通知)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from include.skillreport.billing.receivables.transfer import Transfer

OWN_ACCOUNT = "0005-123-1-1234567"


def zengin_file(
    transfers: Iterable[Transfer],
    *,
    accounts: Iterable[str] = (),
    line_end: bytes = b"\r\n",
    wide: bool = False,
    with_cancelled: bool = True,
) -> bytes:
    """The file, with a group for each account in the order of the transfers, and for each of the ``accounts``.

    ``wide``: format B, with amounts of 12 digits. ``with_cancelled``: the total has the cancelled transfers too. ``details`` may be
    ``EDI …``.
    """
    groups: dict[str, list[Transfer]] = {account: [] for account in accounts}
    for transfer in transfers:
        groups.setdefault(transfer.account, []).append(transfer)
    records = [
        record
        for account, group in groups.items()
        for record in (
            _header(account, group),
            *(_data(each, wide) for each in group),
            _trailer(group, with_cancelled),
        )
    ]
    return line_end.join(each.encode("cp932") for each in (*records, _padded("9"))) + line_end


def _header(account: str, group: list[Transfer]) -> str:
    bank, branch, kind, number = account.split("-")
    days = sorted(each.booked_on for each in group) or [date(2026, 11, 27)]
    first, last = _day(days[0]), _day(days[-1])
    place = f"{bank}{'ｻﾝﾌﾟﾙ':15}{branch}{'ﾎﾝﾃﾝ':15}{kind}{number}"
    return _padded(f"1010{last}{first}{last}{place}{'ｻﾝﾌﾟﾙｸﾗｳﾄﾞｻｰﾋﾞｽ(ｶ':40}")


def _data(transfer: Transfer, wide: bool) -> str:
    day, amount = _day(transfer.booked_on), int(transfer.amount)
    short, long = (0, amount) if wide and amount >= 10**10 else (amount, 0)
    amounts_of_b = f"{long:012}{0:012}" if wide else ""
    edi = transfer.details.removeprefix("EDI ")
    return _padded(
        f"2{transfer.reference:0>6}{day}{day}{short:010}{0:010}{transfer.payer_code:0>10}{transfer.payer_name:48}"
        f"{'':15}{'':15}{transfer.is_cancellation:1d}{amounts_of_b}{edi:20}"
    )


def _trailer(group: list[Transfer], with_cancelled: bool) -> str:
    cancelled = [each for each in group if each.is_cancellation]
    counted = group if with_cancelled else [each for each in group if not each.is_cancellation]
    return _padded(f"8{_sums(counted)}{_sums(cancelled)}")


def _sums(transfers: list[Transfer]) -> str:
    return f"{len(transfers):06}{sum(int(each.amount) for each in transfers):012}"


def _day(day: date) -> str:
    return f"{day.year - 2018:02}{day:%m%d}"


def _padded(text: str) -> str:
    assert len(text) <= 200, f"a field of {text!r} is too long"
    return f"{text:200}"
