"""The invoices and amounts of a user's confirmation of transfers. Acts as ``batch_platform``, before the run is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import psycopg

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.payments import find_payables
from include.skillreport.billing.ledger.transfer_payments import METHOD, TransferPart
from include.skillreport.billing.ledger.transfers import FoundTransfer, find_transfers, load_choices
from include.skillreport.billing.money import YEN
from include.skillreport.billing.receivables.matching import Doubt, MatchedPart, Unpaid, oldest_first
from include.skillreport.billing.receivables.payment import Payable, Payment, require_payable
from include.skillreport.core.errors import ParameterError
from include.skillreport.operations.import_payments.form import FEE, ConfirmedTransfer


def confirmed_parts(
    platform: psycopg.Connection,
    confirmed: Sequence[ConfirmedTransfer],
    fee_tolerance: int,
    *,
    is_other: bool = False,
) -> list[TransferPart]:
    """The parts of each transfer by invoice: in the order of the numbers up to the open amounts, and the rest for the last one.

    ``is_other``: the user declares that no transfer is an entered payment, which is unnecessary if the list showed these.
    :raises ParameterError: a transfer or an invoice cannot be used, or the rest is no fee; with its number.
    """
    transfers = _usable(platform, [each.transfer_id for each in confirmed])
    numbers = {number for each in confirmed for number in each.numbers}
    return [
        replace(_part(transfer, share), is_other=is_other or transfer.doubt == Doubt.ALREADY_ENTERED)
        for transfer, share in shares_of(
            confirmed, transfers, find_payables(platform, numbers), fee_tolerance
        )
    ]


def shares_of(
    confirmed: Sequence[ConfirmedTransfer],
    transfers: Mapping[str, FoundTransfer],
    payables: Mapping[str, Payable],
    fee_tolerance: int,
) -> list[tuple[FoundTransfer, MatchedPart]]:
    """The share of each invoice in its transfer, in the order of payment. Pure.

    :raises ParameterError: as ``confirmed_parts``.
    """
    open_amounts = {number: payable.open_amount for number, payable in payables.items()}
    found: list[tuple[FoundTransfer, MatchedPart]] = []
    for each in confirmed:
        transfer = transfers[each.transfer_id]
        invoices = [_payable(transfer, number, payables.get(number)) for number in each.numbers]
        unpaid = [
            Unpaid(
                payable.tenant_id,
                payable.number,
                open_amounts[payable.number],
                payable.first_issued_on or payable.issued_on,
            )
            for payable in invoices
        ]
        shares = oldest_first(transfer.rest, unpaid)
        missing = set(each.numbers).difference(share.number for share in shares)
        if missing:
            raise ParameterError(
                f"振込 {each.transfer_id} の {transfer.rest:,f} 円は、請求書 {'、'.join(sorted(missing))} に届きません。"
                "番号を減らしてください。"
            )
        for share in shares:
            open_amounts[share.number] -= share.amount
        if each.has_fee:
            shares = (*shares[:-1], _with_fee(transfer, shares[-1], open_amounts, fee_tolerance))
        found += [(transfer, share) for share in shares]
    return found


def same_parts(platform: psycopg.Connection, same: Sequence[ConfirmedTransfer]) -> list[TransferPart]:
    """The entered payments that equal these transfers. Among equal payments for one invoice, each transfer gets another one.

    :raises ParameterError: a transfer has none, or payments for different invoices without a choice in its line.
    """
    transfers = _usable(platform, [each.transfer_id for each in same])
    choices = load_choices(platform, transfers)
    parts: list[TransferPart] = []
    for transfer_id, numbers, _ in same:
        transfer = transfers[transfer_id]
        taken = {part.payment_id for part in parts}
        fitting = [
            choice
            for choice in choices.get(transfer_id, ())
            if choice[0].payment_id
            and taken.isdisjoint(part.payment_id for part in choice)
            and sum((part.amount for part in choice), Decimal(0)) == transfer.rest
            and (not numbers or set(numbers) == {part.number for part in choice})
        ]
        kinds = {tuple((part.number, part.amount) for part in choice) for choice in fitting}
        if len(kinds) != 1:
            raise ParameterError(
                f"振込 {transfer_id} と同じかもしれない入金は、{len(kinds)} とおりあります。「振込ID=請求書番号」で入金のある請求書を"
                "選ぶか、違う入金なら「消込の確定」で請求書を指定してください。"
            )
        parts += [_part(transfer, part) for part in fitting[0]]
    return parts


def _usable(platform: psycopg.Connection, transfer_ids: Sequence[str]) -> dict[str, FoundTransfer]:
    return require_usable(find_transfers(platform, transfer_ids), transfer_ids)


def require_usable(
    found: Mapping[str, FoundTransfer], transfer_ids: Sequence[str]
) -> dict[str, FoundTransfer]:
    """The open transfers. :raises ParameterError: one is not open, with the reason."""
    if len(set(transfer_ids)) < len(transfer_ids):
        raise ParameterError("同じ振込が 2 回あります。1 行にまとめてください。")
    for transfer_id in transfer_ids:
        transfer = found.get(transfer_id)
        problem = _problem(transfer)
        if problem:
            raise ParameterError(
                f"振込 {transfer_id[:40]!r} は{problem}。ボードの「入金消込」で確かめてください。"
            )
    return {transfer_id: found[transfer_id] for transfer_id in transfer_ids}


def _problem(transfer: FoundTransfer | None) -> str:
    if transfer is None:
        return "ありません"
    if transfer.is_cancellation:
        return "銀行の取消です。入金にはできません"
    if transfer.is_cancelled:
        return "銀行が取り消しました"
    if transfer.is_set_aside:
        return "対象外にされています。先に「対象外の取り消し」を実行してください"
    return "" if transfer.rest > 0 else "すでに入金になっています"


def _payable(transfer: FoundTransfer, number: str, payable: Payable | None) -> Payable:
    payment = Payment(number, transfer.booked_on, transfer.rest, YEN, METHOD, transfer.transfer_id)
    try:
        return require_payable(payment, payable)
    except BillingError as error:
        raise ParameterError(f"振込 {transfer.transfer_id}: {error}") from None


def _with_fee(
    transfer: FoundTransfer, share: MatchedPart, open_amounts: dict[str, Decimal], fee_tolerance: int
) -> MatchedPart:
    fee = open_amounts[share.number]
    if not 0 < fee <= fee_tolerance:
        raise ParameterError(
            f"振込 {transfer.transfer_id}: 請求書 {share.number} の残りは {fee:,f} 円です。"
            f"手数料にできるのは 1 円から {fee_tolerance:,} 円（billing.fee_tolerance）までです。「,{FEE}」を外してください。"
        )
    open_amounts[share.number] = Decimal(0)
    return replace(share, fee=fee)


def _part(transfer: FoundTransfer, part: MatchedPart) -> TransferPart:
    return TransferPart(
        transfer.transfer_id,
        part.tenant_id,
        part.number,
        transfer.booked_on,
        part.amount,
        part.fee,
        part.payment_id,
    )
