"""The operators' view of suppressed addresses, and lifting a suppression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS
from include.skillreport.messaging import suppression
from include.skillreport.messaging.suppression import SuppressionReason
from include.skillreport.operations.operate_notifications import create_batch as notification_operations
from local_stack.batch_runs import LOCAL, open_run, process_tenants
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import TODAY, operate, run_notifications, waiting


@pytest.fixture
def suppressed(host: psycopg.Connection, connection: psycopg.Connection) -> datetime:
    """Two addresses of A and one of B; returns when they were suppressed."""
    now = datetime.now(UTC) - timedelta(hours=1)
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id)
        with tenant_transaction(connection, [tenant_id]):
            suppression.record_bounce(
                connection, tenant_id, "taro@example.jp", message_id="1", error_code="5.1.1", now=now
            )
    with tenant_transaction(connection, ["A"]):
        suppression.suppress_for_good(
            connection, "A", "hanako@example.jp", SuppressionReason.UNSUBSCRIBE, now
        )
    return now


def listing(database: Database, *addresses: str) -> list[str]:
    """The lines of tenant A that the task's log shows."""
    batch = notification_operations(LOCAL)
    parameters = {"operation": "list_suppressed", "addresses": list(addresses)}
    with database.working() as (platform, connection):
        run, _ = open_run(platform, OPERATE_NOTIFICATIONS, batch, TODAY, codes=["A"], parameters=parameters)
        (result,) = process_tenants(connection, platform, batch, run, ["A"]).results
    return list(result.report)


def left(host: psycopg.Connection) -> list[tuple[str, str]]:
    return host.execute("SELECT tenant_id, address FROM batch.suppressed_address ORDER BY 1, 2").fetchall()


@pytest.mark.usefixtures("suppressed")
def test_the_list_shows_reason_and_end_and_hides_the_address(database: Database) -> None:
    head, hanako, taro = listing(database)

    assert head == "送信を止めた宛先 2 件"
    assert hanako.startswith("h***@example.jp（配信停止の依頼）、20")
    assert hanako.endswith(" から 期限なし")
    assert taro.startswith("t***@example.jp（不達 5.1.1、続けて 1 回）、20")
    assert taro.endswith(" まで")


@pytest.mark.usefixtures("suppressed")
def test_an_address_that_is_named_is_listed_alone_and_in_full(database: Database) -> None:
    head, line = listing(database, "TARO@example.jp")

    assert head == "送信を止めた宛先 1 件"
    assert line.startswith("taro@example.jp（不達")
    assert listing(database, "nobody@example.jp") == ["送信を止めた宛先はありません"]


@pytest.mark.usefixtures("suppressed")
def test_lifted_for_one_tenant_an_address_gets_its_mail_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    result = operate(database, services, "lift", codes=["A"], addresses=["Taro@example.jp"])

    assert left(host) == [("A", "hanako@example.jp"), ("B", "taro@example.jp")]
    assert host.execute(
        "SELECT details -> 'lifted' FROM batch.tenant_outcome WHERE execution_id = %s", [result.execution_id]
    ).fetchall() == [(1,)]
    for tenant_id in ("A", "B"):
        waiting(host, tenant_id, recipient_address="taro@example.jp")
    run_notifications(database, services)
    assert len(services.messages) == 1


@pytest.mark.usefixtures("suppressed")
@pytest.mark.parametrize(
    ("addresses", "codes", "reason"),
    [
        (["taro"], ["A"], r"の t\*\*\* はメールアドレスではありません"),
        (["hanako@example.jp"], ["B"], r"h\*\*\*@example\.jp"),
        (["taro@example.jp", "nobody@example.jp"], ["A"], r"あります: n\*\*\*@example\.jp。"),
        (["taro@example.jp"], [], "テナントコード"),
        ([], ["A"], "「メールアドレス」（addresses）が必要です"),
    ],
)
def test_an_address_that_cannot_be_lifted_is_refused_without_showing_it(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    addresses: list[str],
    codes: list[str],
    reason: str,
) -> None:
    before = left(host)

    with pytest.raises(ParameterError, match=reason) as refused:
        operate(database, services, "lift", codes=codes, addresses=addresses)

    assert not any(address in str(refused.value) for address in addresses)
    assert left(host) == before
