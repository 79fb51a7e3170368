"""With a sample of a price list or an issuer there are marked drafts and nothing else, whatever an operator asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from pydantic import ValidationError

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import credit_invoice, void_invoice
from include.skillreport.billing.ledger.entries import EntryAuthor
from include.skillreport.billing.ledger.settlement import Instructions, Settlement, settle_tenants
from include.skillreport.billing.ledger.stored_invoice import find_invoice, invoice_of_month
from include.skillreport.billing.service import OffersBilling
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.settings import SETTINGS_VARIABLE
from include.skillreport.operations.approve_invoices import create_batch as invoice_approval
from include.skillreport.operations.operate_invoices import create_batch as invoice_operations
from local_stack.batch_runs import LOCAL, open_run
from local_stack.stack import DEMO_SETTINGS
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    OCTOBER,
    customer,
    everything_written,
    explain,
    files,
    invoice,
    invoices,
    numbers,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.digests import take_digest
from tests.worlds.documents import pages_of

BOTH = "料金表と発行者"


@pytest.fixture(params=["both", "price list", "issuer"])
def samples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The sample parts of this installation, in the words of the messages."""
    own: dict[str, Any] = yaml.safe_load(DEMO_SETTINGS.read_text(encoding="utf-8"))
    own["billing"]["price_list"] = str(DEMO_SETTINGS.parent / own["billing"]["price_list"])
    if request.param == "both":
        monkeypatch.delenv(SETTINGS_VARIABLE)
        return BOTH
    if request.param == "price list":
        del own["billing"]["price_list"]
    else:
        own["billing"]["issuer"]["sample"] = True
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(own), encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(file))
    return "料金表" if request.param == "price list" else "発行者"


@pytest.fixture
def own_terms(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Gives the installation its own price list and issuer."""
    return lambda: monkeypatch.setenv(SETTINGS_VARIABLE, str(DEMO_SETTINGS))


@pytest.fixture
def shipped_terms(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Leaves the installation with the shipped files."""
    return lambda: monkeypatch.delenv(SETTINGS_VARIABLE)


def test_the_shipped_terms_are_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_terms().samples == ""
    monkeypatch.delenv(SETTINGS_VARIABLE)
    assert load_terms().samples == BOTH


@pytest.mark.parametrize("create", [create_batch, invoice_operations, invoice_approval])
def test_without_the_named_settings_file_no_batch_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: Callable[[OffersBilling], object]
) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "own.yaml"))
    with pytest.raises(SettingsError, match=f"own.yaml（{SETTINGS_VARIABLE} が指定）を読めません"):
        create(LOCAL)


def test_a_run_with_a_sample_makes_marked_drafts_and_nothing_else(
    database: Database, host: psycopg.Connection, store: ObjectStore, samples: str
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    customer(host, "B", "FREE")

    for _ in range(2):
        result = run_billing(database, store=store)

        assert result.status == "completed"
        outcome = outcomes(host, result)["A"]
        assert outcome["details"]["settlement"] == "sample"
        assert outcome["notes"] == [
            f"{samples}が見本（sample: true）のため、確定していません（見本の下書きだけです）"
        ]
        draft = invoice(host, "A")
        assert (draft["status"], draft["number"]) == ("draft", None)
        written = everything_written(host)
        assert [name for name, rows in written.items() if rows] == ["invoice"]
        key = f"samples/2026-10/sample-{draft['invoice_id']}"
        made = files(store)
        assert list(made) == [f"{key}.json", f"{key}.pdf"]
        assert all("見本" in page for page in pages_of(made[f"{key}.pdf"]))
        assert json.loads(made[f"{key}.json"])["sample"] == "見本（請求書ではありません）"
        with pytest.raises(ValidationError, match="sample"):
            Invoice.model_validate_json(made[f"{key}.json"])


def test_the_drafts_of_a_sample_become_invoices_under_the_installations_own_terms(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    samples: str,
    own_terms: Callable[[], None],
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run_billing(database, store=store)
    draft = invoice(host, "A")
    own_terms()

    result = run_billing(database, store=store)

    assert samples
    assert outcomes(host, result)["A"]["details"]["settlement"] == "finalized"
    billed = invoice(host, "A")
    assert (billed["invoice_id"], billed["status"], billed["number"], billed["total"]) == (
        draft["invoice_id"],
        "finalized",
        "INV-2026-10-001",
        11_000,
    )
    assert host.execute('SELECT count(*) FROM "HIS_TenantBilling"').fetchone() == (1,)
    assert host.execute('SELECT count(*) FROM "HIS_NotificationLog"').fetchone() == (1,)
    made = files(store)
    assert [key for key in made if key.startswith("invoices/")] == [
        "invoices/2026-10/INV-2026-10-001.json",
        "invoices/2026-10/INV-2026-10-001.pdf",
        "invoices/2026-10/index.csv",
    ]
    (page,) = pages_of(made["invoices/2026-10/INV-2026-10-001.pdf"])
    assert "見本" not in page
    assert "sample" not in json.loads(made["invoices/2026-10/INV-2026-10-001.json"])


@pytest.mark.own_database
def test_the_demos_issuer_bills_nobody_in_an_applications_own_database(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    host.execute('COMMENT ON TABLE "MST_Tenant" IS NULL')

    with pytest.raises(BillingError, match="発行者がデモのもの"):
        run_billing(database, store=store)

    assert numbers(host) == []
    assert files(store) == {}


def test_an_approval_does_not_finalise_a_sample(
    database: Database, host: psycopg.Connection, shipped_terms: Callable[[], None]
) -> None:
    september = MONTH.replace(month=9)
    customer(host, "A", months=(september,))
    run_billing(database, september)
    billing_rows.close_month(host, "A", active_users=90)
    shipped_terms()
    run_billing(database)

    result = operate(database, "approve")

    assert result.status == "completed"
    draft = invoice(host, "A")
    assert (draft["status"], draft["number"], draft["approved_by"]) == ("draft", None, None)


@pytest.mark.parametrize("operation", [None, "approve", "reissue", "credit", "void"])
def test_a_run_with_a_sample_touches_nothing_that_is_finalised(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    shipped_terms: Callable[[], None],
    operation: str | None,
) -> None:
    customer(host, "A", contact_email="a@example.jp")
    run_billing(database, store=store)
    host.execute("UPDATE batch.usage_day SET active_users = 30, revision = 2")
    rows, made = everything_written(host), files(store)
    shipped_terms()

    if operation is None:
        result = run_billing(database, store=store)
    else:
        reason = "" if operation == "approve" else "訂正"
        result = operate(database, operation, reason=reason, store=store)

    assert everything_written(host) == rows
    assert files(store) == made
    if operation in (None, "approve"):
        assert outcomes(host, result)["A"]["details"]["settlement"] == "already finalized"
        return
    assert outcomes(host, result)["A"]["error_code"] == "SAMPLE_TERMS"
    assert reasons(result)["A"] == (
        "料金表と発行者が見本（sample: true）のため、請求書の確定、再発行、取消、返還はできません。"
        "自社の料金表と発行者（どちらも sample: false）の設定ファイルを用意し、環境変数 SKILL_BATCH_SETTINGS に指定してください。"
    )


def test_the_ledger_itself_refuses_every_caller(
    database: Database, host: psycopg.Connection, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    customer(host, "B")
    run_billing(database, codes=["A"])
    rows = everything_written(host)
    shipped_terms()
    terms = load_terms()

    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A", "B"]):
        issued = find_invoice(connection, "INV-2026-10-001")
        with pytest.raises(BillingError, match="返還はできません"):
            credit_invoice(connection, terms, issued, "訂正", EntryAuthor("test", "test", FIRST_OF_NOVEMBER))
        with pytest.raises(BillingError, match="取消"):
            void_invoice(connection, terms, issued, "訂正", actor="test")
        instructions = Instructions(FIRST_OF_NOVEMBER, "test", approved=("A", "B"))
        kept, sample = settle_tenants(connection, OCTOBER, terms, instructions)
        assert (kept.settlement, sample.settlement) == (Settlement.ALREADY_FINALIZED, Settlement.SAMPLE)
        assert sample.number is None

    after = everything_written(host)
    assert [name for name in rows if after[name] != rows[name]] == ["invoice"]
    assert numbers(host) == ["INV-2026-10-001"]


def test_reasons_against_finalization_are_reported_for_a_sample_draft_too(
    database: Database, host: psycopg.Connection, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    billing_rows.billing_profile(host, "A", recipient_name="　")
    shipped_terms()

    result = run_billing(database)

    assert result.status == "completed"
    refusal, sample = outcomes(host, result)["A"]["notes"]
    assert refusal.startswith("適格請求書の記載事項が欠けているため確定できません: 交付を受ける者の名称")
    assert sample.startswith(BOTH)


def test_a_dry_run_with_a_sample_says_so_and_writes_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    shipped_terms()

    result = run_billing(database, dry_run=True, store=store)

    assert outcomes(host, result)["A"]["details"]["settlement"] == "priced"
    assert outcomes(host, result)["A"]["notes"][0].startswith(BOTH)
    assert not any(everything_written(host).values())
    assert files(store) == {}


def test_a_draft_that_the_application_has_no_row_of_can_be_dropped(
    database: Database, host: psycopg.Connection, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    customer(host, "B")
    shipped_terms()
    run_billing(database)
    host.execute("""UPDATE "MST_Tenant" SET subscription_plan = 'FREE' WHERE tenant_id = 'B'""")

    dropped = operate(database, "void", reason="誤り")
    run_billing(database, codes=["B"])

    assert dropped.status == "completed"
    assert {(row["tenant_id"], row["status"], row["number"]) for row in invoices(host)} == {
        ("A", "void", None),
        ("B", "void", None),
    }
    assert everything_written(host)["host billing"] == []


def test_a_draft_is_explained_with_a_sample_too(
    database: Database, host: psycopg.Connection, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    shipped_terms()
    run_billing(database)

    assert explain(database)[0].startswith("（未確定） A 2026-10-01")


def test_a_month_that_comes_to_nothing_stays_a_draft_without_files(
    database: Database, host: psycopg.Connection, store: ObjectStore, shipped_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    billing_rows.discount(host, "A", value=100)
    shipped_terms()

    run_billing(database, store=store)

    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        assert invoice_of_month(connection, "A", OCTOBER).state.status == "draft"
    assert files(store) == {}


def test_the_operators_get_the_action_once_per_run(
    database: Database, host: psycopg.Connection, samples: str, own_terms: Callable[[], None]
) -> None:
    customer(host, "A")
    customer(host, "B")
    batch = create_batch(LOCAL)
    with database.connect("batch_platform") as platform:

        def told() -> list[str]:
            run, _ = open_run(platform, TENANT_BILLING, batch, MONTH, codes=["A", "B"])
            platform.execute(
                """UPDATE batch.tenant_outcome SET details = '{"settlement": "sample"}' WHERE tenant_id = 'A'"""
            )
            return take_digest(platform, batch, run)

        lines = told()
        assert lines == [
            f"請求書を確定していません（2026-10 分）: {samples}が見本（sample: true）のため",
            "・見本の下書き 1 テナント（保存先の samples/2026-10/）。"
            "請求書番号、アプリの請求データ、請求先への通知、会計用ファイルは作っていません",
            "→ 自社の料金表と発行者（どちらも sample: false）の設定ファイルを用意し、環境変数 SKILL_BATCH_SETTINGS に"
            "指定してください。その後、業務日 2026-10-01 で再実行すると確定します",
        ]
        own_terms()
        batch = create_batch(LOCAL)
        assert told() == []
