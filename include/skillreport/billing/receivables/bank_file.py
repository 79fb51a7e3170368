"""The bank's file that the accountant puts into the folder ``bank-files/incoming``. Pure: bytes in, transfers out."""

from __future__ import annotations

from datetime import date

from include.skillreport.billing.receivables.transfer import BankFile
from include.skillreport.billing.settings import BillingSettings


def read_bank_file(content: bytes, name: str, settings: BillingSettings, today: date) -> BankFile:
    """The transfers of the file ``name``, in its order. ``today`` is the day of the run in Asia/Tokyo.

    :raises ParameterError: names the file, its records or lines, and what to do. Nothing is read in part.
    """
    raise NotImplementedError
