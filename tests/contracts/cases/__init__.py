"""All cases."""

from __future__ import annotations

from tests.contracts.cases import directories, invoices, messages, nightly, tenants

CASES = (*tenants.CASES, *nightly.CASES, *messages.CASES, *directories.CASES, *invoices.CASES)
