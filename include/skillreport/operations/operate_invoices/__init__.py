"""Accountants' operations on invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.operations.operate_invoices.batch import InvoiceOperations


def create_batch(installation: OffersBilling) -> InvoiceOperations:
    """The operations with the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.operate_invoices.batch import InvoiceOperations

    return InvoiceOperations(installation.billing().check_terms())
