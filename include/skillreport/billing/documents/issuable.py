"""The rules that each invoice passes before it gets a number."""

from __future__ import annotations

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.qualified_invoice import require_qualified
from include.skillreport.billing.documents.rendering import require_printable


def require_issuable(invoice: Invoice, *, corporate_issuer: bool) -> None:
    """Check the items of a qualified invoice, and that the fonts have its characters. :raises BillingError: with what to correct."""
    require_qualified(invoice, corporate_issuer=corporate_issuer)
    require_printable(invoice)
