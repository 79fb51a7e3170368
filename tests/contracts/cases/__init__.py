"""All cases."""

from __future__ import annotations

from tests.contracts.cases import (
    backups,
    contracts,
    directories,
    invoices,
    leaving,
    messages,
    nightly,
    payments,
    tenants,
)

CASES = (
    *tenants.CASES,
    *nightly.CASES,
    *messages.CASES,
    *directories.CASES,
    *backups.CASES,
    *leaving.CASES,
    *invoices.CASES,
    *payments.CASES,
    *contracts.CASES,
)
