"""Addresses that people typed into the application with blanks around them, in every view that shows one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Server, copied_database
from tests.worlds import host_rows

# A space, a tab, ends of lines, and the full-width and the no-break space.
BLANKS = (" ", "\t", "\r\n", "\u3000", "\u00a0", " \u3000\n")


@pytest.fixture(params=list(HostVariant))
def host(
    request: pytest.FixtureRequest, server: Server, templates: dict[HostVariant, str]
) -> Iterator[psycopg.Connection]:
    """A host of each variant, with tenant A, an employee and a notification."""
    with (
        copied_database(server, templates[request.param], f"addresses_{request.param}") as database,
        database.connect() as connection,
    ):
        host_rows.tenant(connection, "A")
        for table, values in (
            ("MST_Employee", {"id": "e1", "employee_code": "1"}),
            ("HIS_NotificationLog", {"id": "n1"}),
        ):
            of_a = {"tenant_id": "A"} if request.param is HostVariant.MULTI_TENANT else {}
            host_rows.insert(connection, table, updated_at=host_rows.UPDATED_AT, **values, **of_a)
        yield connection


def addresses(host: psycopg.Connection, typed: str) -> list[str | None]:
    """What the views show of an address as it is typed."""
    host.execute(
        'UPDATE "MST_Tenant" SET admin_email = %(typed)s, contact_email = %(typed)s', {"typed": typed}
    )
    host.execute('UPDATE "MST_Employee" SET email = %s', [typed])
    host.execute('UPDATE "HIS_NotificationLog" SET recipient_address = %s', [typed])
    row = host.execute(
        """
        SELECT tenant.admin_email, tenant.contact_email, employee.email, notification.destination
        FROM batch.all_tenant AS tenant, batch.all_employee AS employee, batch.all_notification AS notification
        """
    ).fetchone()
    assert row is not None
    return list(row)


def test_blanks_around_an_address_do_not_belong_to_it(host: psycopg.Connection) -> None:
    for blank in BLANKS:
        assert addresses(host, f"{blank}a b@example.jp{blank}") == ["a b@example.jp"] * 4, repr(blank)


def test_an_address_of_blanks_is_none(host: psycopg.Connection) -> None:
    for blank in BLANKS:
        assert addresses(host, blank) == [None, None, None, ""], repr(blank)
