"""All cases."""

from __future__ import annotations

from tests.contracts.cases import contracts, invoices, messages, nightly, payments, tenants

CASES = (
    *tenants.CASES,
    *nightly.CASES,
    *messages.CASES,
    *invoices.CASES,
    *payments.CASES,
    *contracts.CASES,
)
