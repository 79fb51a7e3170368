"""From the invoice to the mail that arrives: each customer gets its own document, with the bytes of the object store."""

from __future__ import annotations

import hashlib
from datetime import date

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.stand_ins import Arrived, StandIns
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import close_month, customer, operate, run_billing
from tests.worlds.documents import pages_of
from tests.worlds.outbox_rows import run_notifications


@pytest.fixture(autouse=True)
def customers(host: psycopg.Connection) -> None:
    """A in Japan, and B in Ireland."""
    customer(host, "A", contact_email="keiri@a.example")
    customer(host, "B", "STANDARD", months=(), contact_email="ap@b.example")
    close_month(host, "B")
    billing_rows.billing_profile(
        host,
        "B",
        recipient_name="O'Hara Consulting Ltd.",
        country="IE",
        language="en",
        currency="USD",
        address="12 Merrion Row",
        postal_code="Dublin 2, D02 XY45",
    )
    billing_rows.exchange_rate(host, date(2026, 10, 30), "151.25")


def send(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> dict[str, Arrived]:
    """The messages of the runs of the second of November, by address."""
    host.execute(
        """UPDATE "HIS_NotificationLog" SET scheduled_at = '2026-11-01' WHERE send_status = 'PENDING'"""
    )
    before = len(services.messages)
    run_notifications(database, services, store=store, on=date(2026, 11, 2))
    host.execute("UPDATE batch.outbox SET next_attempt_at = now() WHERE status IN ('pending', 'retry')")
    run_notifications(database, services, store=store, on=date(2026, 11, 2), spec=NOTIFICATION_RETRY)
    return {each.destination: each for each in services.messages[before:]}


def test_each_customer_gets_its_own_invoice_in_its_language(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    run_billing(database, store=store)

    arrived = send(database, host, services, store)

    assert set(arrived) == {"keiri@a.example", "ap@b.example"}
    texts = {}
    for address, number in (("keiri@a.example", 1), ("ap@b.example", 2)):
        (file,) = arrived[address].files
        content = store.read(f"invoices/2026-10/INV-2026-10-{number:03}.pdf")
        assert file["name"] == f"invoice-INV-2026-10-{number:03}.pdf"
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        texts[address] = pages_of(content)[0]
    # The signature comes last.
    assert arrived["keiri@a.example"].text.endswith(
        "\n\n書類（PDF）を添付しています。\n振込先は添付の請求書のとおりです。\n\n"
        "ご査収のほどよろしくお願いいたします。\n\n"
        "サンプルクラウドサービス株式会社 経理部 請求担当\nお問い合わせ: billing@cloud-service.example / 03-0000-0000"
    )
    assert arrived["ap@b.example"].text.endswith(
        "\n\nThe document (PDF) is attached.\nPlease pay to the bank account on the attached invoice.\n\n"
        "Sample Cloud Service Co., Ltd., Accounts Receivable\nQuestions: billing@cloud-service.example / +81-3-0000-0000"
    )
    english = texts["ap@b.example"]
    assert "O'Hara Consulting Ltd.\n12 Merrion Row\nDublin 2, D02 XY45\nIreland" in english
    assert "Outside the scope of Japanese consumption tax" in english.replace("\n", " ").replace("  ", " ")
    assert "SWIFT/BIC" in english


def test_a_letter_waits_until_the_run_has_written_its_document(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    run_billing(database)
    assert send(database, host, services, store) == {}

    run_billing(database, store=store)

    assert {len(each.files) for each in send(database, host, services, store).values()} == {1}


def test_a_letter_that_is_withdrawn_with_its_invoice_never_arrives(
    database: Database, host: psycopg.Connection, services: StandIns, store: ObjectStore
) -> None:
    run_billing(database)
    send(database, host, services, store)
    operate(database, "void", reason="訂正", store=store)
    run_billing(database, codes=["A"], store=store)

    arrived = [each.subject for each in send(database, host, services, store).values()]

    assert not any("INV-2026-10-001 " in f"{subject} " for subject in arrived)
