"""Letters with a file from the object store: the mail that arrives, and the conditions for which it waits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.run_spec import BatchSpec
from local_stack.stand_ins import Arrived, StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import make_due, run_notifications, slack, unsigned, waiting

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def tenants(host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        host_rows.tenant(host, tenant_id, admin_email=f"admin@{tenant_id}.example.jp")


def letter(
    host: psycopg.Connection,
    store: ObjectStore,
    content: bytes = PDF,
    *,
    tenant_id: str = "A",
    name: str = "invoice-1.pdf",
    is_attached: bool | None = True,
    **values: Any,
) -> str:
    """A letter of billing with a file; ``is_attached`` None: the file is not written yet. Returns its id."""
    letter_id = waiting(
        host,
        tenant_id,
        recipient_type="BILLING_CONTACT",
        message_body="ご請求書を発行しました。\n",
        priority_level="HIGH",
        **values,
    )
    host.execute(
        """
        INSERT INTO batch.letter_file (
            tenant_id, notification_id, file_name, object_key, attached_text, unattached_text
        )
        VALUES (
            %s, %s, %s, %s, '書類（PDF）を添付しています。\n\n経理部', '書類は https://invoices.example/1 にあります。\n\n経理部'
        )
        """,
        [tenant_id, letter_id, name, f"invoices/{letter_id}.pdf"],
    )
    if is_attached is not None:
        written(host, store, letter_id, content, is_attached=is_attached)
    return letter_id


def written(
    host: psycopg.Connection,
    store: ObjectStore,
    letter_id: str,
    content: bytes = PDF,
    *,
    is_attached: bool = True,
) -> None:
    """The file of a letter is written and recorded."""
    store.write(f"invoices/{letter_id}.pdf", content)
    host.execute(
        "UPDATE batch.letter_file SET sha256 = %s, bytes = %s, is_attached = %s WHERE notification_id = %s",
        [hashlib.sha256(content).hexdigest(), len(content), is_attached, letter_id],
    )


def send(
    database: Database,
    services: StandIns,
    store: ObjectStore | None,
    spec: BatchSpec = SCHEDULED_NOTIFICATIONS,
) -> list[Arrived]:
    """Send the messages of one run."""
    before = len(services.messages)
    run_notifications(database, services, spec=spec, store=store)
    return services.messages[before:]


def retry(database: Database, services: StandIns, store: ObjectStore | None) -> list[Arrived]:
    """Send the messages of a later run of BATCH-019-02."""
    return send(database, services, store, NOTIFICATION_RETRY)


def state(host: psycopg.Connection, letter_id: str) -> tuple[Any, ...]:
    """Status, attempts and error code of a letter in the outbox."""
    row = host.execute(
        "SELECT status, attempts, error_code FROM batch.outbox WHERE host_log_id = %s", [letter_id]
    ).fetchone()
    assert row is not None
    return row


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_of(arrived: Arrived) -> Mapping[str, Any]:
    (file,) = arrived.files
    return file


def test_the_mail_has_the_stored_file_and_says_so(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    letter_id = letter(host, store)

    (arrived,) = send(database, services, store)

    assert file_of(arrived) == {
        "name": "invoice-1.pdf",
        "content_type": "application/pdf",
        "bytes": len(PDF),
        "sha256": sha256(PDF),
    }
    assert arrived.text == "ご請求書を発行しました。\n\n書類（PDF）を添付しています。\n\n経理部"
    assert state(host, letter_id) == ("sent", 1, None)


def test_the_files_of_many_letters_and_of_two_tenants_never_mix(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    contents = {
        f"{tenant_id}{number}@customer.example".lower(): f"{tenant_id}-{number}".encode()
        for tenant_id in ("A", "B")
        for number in range(15)
    }
    for address, content in contents.items():
        letter(host, store, content, tenant_id=address[0].upper(), recipient_address=address)

    arrived = send(database, services, store)

    assert {each.destination: file_of(each)["sha256"] for each in arrived} == {
        address: sha256(content) for address, content in contents.items()
    }


def test_a_file_too_large_for_the_setting_is_linked_instead(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    letter_id = letter(host, store, is_attached=False)
    store.delete(f"invoices/{letter_id}.pdf")

    (arrived,) = send(database, services, store)

    assert arrived.files == []
    assert arrived.text.endswith("\n\n書類は https://invoices.example/1 にあります。\n\n経理部")


def test_a_letter_without_a_file_and_another_channel_are_as_before(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C1")
    waiting(host, "A")

    arrived = send(database, services, None)

    assert sorted((each.channel, unsigned(each.text)) for each in arrived) == [
        ("email", "本文"),
        ("slack", "お知らせ\n本文"),
    ]


# Waiting for the file -------------------------------------------------------------------------------------------------


def test_a_letter_waits_for_its_file_without_an_attempt_and_goes_afterwards(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    letter_id = letter(host, store, is_attached=None)

    assert send(database, services, store) == []
    assert state(host, letter_id) == ("pending", 0, "file_unwritten")
    assert retry(database, services, store) == []

    written(host, store, letter_id)
    make_due(host)
    (arrived,) = retry(database, services, store)

    assert file_of(arrived)["sha256"] == sha256(PDF)
    assert state(host, letter_id) == ("sent", 1, None)


def test_letters_that_wait_for_their_files_delay_no_others(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    for _ in range(25):
        letter(host, store, is_attached=None)
    waiting(host, "A", recipient_address="other@example.jp", priority_level="LOW")

    assert [arrived.destination for arrived in send(database, services, store)] == ["other@example.jp"]


@pytest.mark.parametrize("is_attached", [None, True])
def test_a_letter_that_is_withdrawn_is_never_sent(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    store: ObjectStore,
    is_attached: bool | None,
) -> None:
    letter_id = letter(host, store, is_attached=None)
    send(database, services, store)
    if is_attached:
        written(host, store, letter_id)
    host.execute('UPDATE "HIS_NotificationLog" SET is_deleted = true WHERE id = %s', [letter_id])
    make_due(host)

    assert retry(database, services, store) == []
    assert state(host, letter_id) == ("withdrawn", 0, "withdrawn")


# A file that cannot be read -------------------------------------------------------------------------------------------


def lose(store: ObjectStore, key: str) -> None:
    store.delete(key)


def alter(store: ObjectStore, key: str) -> None:
    store.write(key, PDF + b"!")


def block(store: ObjectStore, key: str) -> None:
    """Reading is an error of the store, not a missing file."""
    store.delete(key)
    store.write(f"{key}/in the way", b"")


@pytest.mark.parametrize(
    ("harm", "code"), [(lose, "file_missing"), (alter, "file_altered"), (block, "store_unreadable")]
)
def test_an_unreadable_file_costs_no_attempt_and_delays_its_letter(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore, harm: Any, code: str
) -> None:
    letter_id = letter(host, store)
    key = f"invoices/{letter_id}.pdf"
    harm(store, key)
    other = letter(host, store, recipient_address="other@customer.example")

    (arrived,) = send(database, services, store)

    assert arrived.destination == "other@customer.example"
    assert state(host, other)[0] == "sent"
    assert state(host, letter_id) == ("pending", 0, code)
    wait, detail = host.execute(
        "SELECT next_attempt_at - now(), error_detail FROM batch.outbox WHERE host_log_id = %s", [letter_id]
    ).fetchone() or (None, None)
    assert timedelta(minutes=10) < wait <= timedelta(minutes=15)
    assert key in detail
    store.delete(key)
    store.write(key, PDF)
    make_due(host)
    (arrived,) = retry(database, services, store)
    assert file_of(arrived)["sha256"] == sha256(PDF)
    assert state(host, letter_id) == ("sent", 1, None)


def test_without_a_store_only_letters_with_a_file_wait(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    letter_id = letter(host, store)
    waiting(host, "A", recipient_address="other@example.jp")

    assert [arrived.destination for arrived in send(database, services, None)] == ["other@example.jp"]
    assert state(host, letter_id) == ("pending", 0, "store_unreadable")


def test_a_failed_attempt_still_counts_when_the_file_goes_missing(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    letter_id = letter(host, store)
    services.fail_next("email", "smtp_4")
    send(database, services, store)
    store.delete(f"invoices/{letter_id}.pdf")
    make_due(host)

    assert retry(database, services, store) == []
    assert state(host, letter_id) == ("retry", 1, "file_missing")


# The mail server's limit ----------------------------------------------------------------------------------------------


def test_a_letter_above_the_servers_limit_is_sent_without_its_file(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    services.limit_letter_size(10_000)
    large = letter(host, store, b"x" * 9_000, recipient_address="large@customer.example")
    letter(host, store, b"x" * 4_000, recipient_address="small@customer.example")

    arrived = {each.destination: each for each in send(database, services, store)}

    assert arrived["large@customer.example"].files == []
    assert "https://invoices.example/1" in arrived["large@customer.example"].text
    assert "添付しています" not in arrived["large@customer.example"].text
    assert file_of(arrived["small@customer.example"])["bytes"] == 4_000
    assert state(host, large) == ("sent", 1, None)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("code", ["5.3.4", "5.2.3", "552"])
def test_a_letter_refused_for_its_size_is_sent_without_its_file(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    store: ObjectStore,
    command: str,
    code: str,
) -> None:
    letter_id = letter(host, store)
    services.fail_next("email", code, command=command)

    (arrived,) = send(database, services, store)

    assert arrived.files == []
    assert "https://invoices.example/1" in arrived.text
    assert state(host, letter_id) == ("sent", 1, None)


# Other ways -----------------------------------------------------------------------------------------------------------


def test_a_letter_that_moves_to_another_channel_says_where_the_file_is(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    slack(host, "A", services)
    letter_id = letter(host, store, is_attached=None)
    send(database, services, store)
    written(host, store, letter_id)
    host.execute(
        """
        UPDATE "HIS_NotificationLog" SET notification_type = 'SLACK', recipient_address = 'C1' WHERE id = %s
        """,
        [letter_id],
    )
    make_due(host)

    retry(database, services, store)

    (post,) = services.messages or retry(database, services, store)
    assert post.channel == "slack"
    assert "書類は https://invoices.example/1 にあります。" in post.text


def test_the_fallback_letter_of_a_closed_channel_links_the_file(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    slack(host, "A", services)
    letter_id = letter(host, store, recipient_address="C1")
    host.execute("UPDATE \"HIS_NotificationLog\" SET notification_type = 'SLACK' WHERE id = %s", [letter_id])
    host_rows.insert(
        host,
        "MST_TenantSettings",
        id="fallback",
        tenant_id="A",
        setting_category="",
        setting_key="batch.notification.fallback_hours",
        setting_value="2",
        updated_at=host_rows.UPDATED_AT,
    )
    services.fail_next("slack", "token_revoked")
    send(database, services, store)
    host.execute("UPDATE batch.channel_circuit SET opened_at = now() - interval '3 hours'")

    (arrived,) = retry(database, services, store)

    assert arrived.destination == "admin@A.example.jp"
    assert "書類は https://invoices.example/1 にあります。" in arrived.text
