"""The demo's customer abroad: an English invoice in dollars, and the report about the mail."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path

from pypdf import PdfReader

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore
from local_stack.generator import DataShape, load_demo_data
from local_stack.stand_ins import StandIns
from local_stack.tenants import DEMO_TENANTS
from tests.airflow_installation import PROJECT
from tests.conftest import Database
from tests.worlds.billing_rows import close_month, run_billing
from tests.worlds.outbox_rows import run_notifications

SHAPE = DataShape(
    tenants=len(DEMO_TENANTS),
    users_per_tenant=20,
    first_day=date(2026, 10, 31),
    days=1,
    requests_per_day=0,
)
ABROAD = next(tenant for tenant in DEMO_TENANTS if tenant.currency == "USD")


def test_the_customer_abroad_gets_an_english_invoice_attached_to_its_mail(
    database: Database, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path)
    with StandIns() as services, database.connect() as connection:
        load_demo_data(connection, SHAPE)
        close_month(connection, ABROAD.tenant_id)
        Statements(PROJECT / "local_stack").execute(connection, "billing_facts")
        run_billing(database, codes=[ABROAD.code], store=store)
        connection.execute(
            "UPDATE \"HIS_NotificationLog\" SET scheduled_at = '2026-11-01' WHERE send_status = 'PENDING'"
        )

        run_notifications(database, services, codes=[ABROAD.code], store=store, on=date(2026, 11, 2))

        ((number,),) = connection.execute("SELECT number FROM batch.invoice").fetchall()
        document = BytesIO(store.read(f"invoices/2026-10/{number}.pdf"))
        page = " ".join(PdfReader(document).pages[0].extract_text().split())
        assert page.startswith(
            "Invoice O'Hara & Takahashizaki Consulting Ltd. Accounts Payable 12 Merrion Row"
        )
        assert "Ireland" in page
        (mail,) = services.messages
        assert (mail.destination, len(mail.files)) == ("ap@ohara.example", 1)
        assert connection.execute("SELECT file_name, is_attached FROM batch.letter_file").fetchall() == [
            (f"invoice-{number}.pdf", True)
        ]
