"""All cases."""

from __future__ import annotations

from tests.contracts.cases import invoices, nightly, tenants

CASES = (*tenants.CASES, *nightly.CASES, *invoices.CASES)
