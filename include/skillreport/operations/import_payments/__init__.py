"""Read banks' files, record their transfers as payments, and confirm uncertain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.operations.import_payments.batch import PaymentImport


def create_batch(installation: OffersBilling) -> PaymentImport:
    """The operation with the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.import_payments.batch import PaymentImport

    return PaymentImport(installation.billing().check_terms())
