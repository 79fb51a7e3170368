"""All cases."""

from __future__ import annotations

from tests.contracts.cases import invoices, tenants

CASES = (*tenants.CASES, *invoices.CASES)
