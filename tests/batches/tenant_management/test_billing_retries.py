"""BATCH-018-02 retried or cleared: the same run skips finished work, and voids no other invoice."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    customer,
    details,
    open_billing,
    open_operation,
    process,
    states,
)


@pytest.mark.parametrize("percent_off", [0, 100])
def test_an_attempt_after_the_invoice_has_the_outcome_of_the_first(
    database: Database, host: psycopg.Connection, percent_off: int
) -> None:
    """As after a kill between the commit and the end of the task. The invoice has remarks about missing records."""
    customer(host, "A", months=())
    billing_rows.without_records(host, "A", last=20)
    if percent_off:
        billing_rows.discount(host, "A", value=percent_off)
    run = open_billing(database)
    (first,) = process(database, run).results
    assert first.records == 31
    assert first.notes

    assert process(database, run).results == [first]


def test_a_retry_does_not_claim_the_invoice_of_another_run(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run = open_billing(database)
    process(database, run)
    process(database, open_operation(database, "reissue", reason="訂正"))

    assert details(process(database, run)) == {
        "settlement": "already finalized",
        "invoice_number": "INV-2026-10-002",
    }
    assert states(host) == [("void", "INV-2026-10-001"), ("finalized", "INV-2026-10-002")]
