"""Transfers in a bank's file, and what identifies a transfer and its payer. Pure; days are Asia/Tokyo dates, amounts are whole yen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class Transfer:
    """Money that arrived on one of the own accounts, or with ``is_cancellation`` the bank's cancellation (取消) of such a transfer.

    ``account`` is ``0001-001-1-1234567``: bank, branch, kind (1 普通, 2 当座, 4 貯蓄) and number. ``payer_name`` is as in the file, without
    blanks at its ends. ``payer_code`` (振込依頼人コード) and ``reference`` (照会番号) are empty if the file has none. ``details`` is for
    people: EDI information, the sending bank and branch. ``line`` is the record or the line in the file, from 1.
    """

    account: str
    booked_on: date
    amount: Decimal
    payer_name: str
    payer_code: str = ""
    reference: str = ""
    details: str = ""
    is_cancellation: bool = False
    line: int = 0


@dataclass(frozen=True)
class BankFile:
    """A bank's file that was read. ``form`` names its format: ``zengin``, or the name of one of ``payment_formats``."""

    form: str
    transfers: tuple[Transfer, ...]
