"""The issuer's logo and seal: checked before a run bills, printed, and kept for the documents that show them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pypdf import PdfReader

from include.skillreport.billing.documents.issuer_images import LARGEST_BYTES, image_key
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.settings import parse_settings
from tests.conftest import Database
from tests.worlds.billing_rows import (
    customer,
    invoice,
    invoices,
    jump,
    operate,
    run_billing,
)
from tests.worlds.issuer_images import name_of, picture
from tests.worlds.own_settings import change_billing, demo_issuer

LOGO, SEAL = "issuer/logo.png", "issuer/seal"
NUMBER = "INV-2026-10-001"


NAVY, SEAL_IMAGE = picture(), picture("red", (30, 30), "JPEG")


@pytest.fixture(autouse=True)
def settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: psycopg.Connection, store: ObjectStore
) -> None:
    """A's October is billed by an issuer with a logo and a seal, whose name says nothing about its format."""
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer(logo=LOGO, seal=SEAL))
    store.write(LOGO, NAVY)
    store.write(SEAL, SEAL_IMAGE)
    customer(host, "A")


def pdf(store: ObjectStore, name: str = NUMBER) -> bytes:
    return store.read(f"invoices/2026-10/{name}.pdf")


def images_of(content: bytes) -> list[tuple[int, int]]:
    """The sizes of the images in a PDF."""
    return sorted(
        found.image.size for page in PdfReader(BytesIO(content)).pages for found in page.images if found.image
    )


def reprinted(database: Database, store: ObjectStore | None, number: str = NUMBER) -> bytes:
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        return Billing().document(connection, number, store=store)


def images(row: dict[str, Any]) -> tuple[str | None, str | None]:
    return row["content"]["issuer"].get("logo"), row["content"]["issuer"].get("seal")


def test_a_document_shows_logo_and_seal_and_keeps_their_names(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database, store=store)

    names = (name_of(NAVY, "png"), name_of(SEAL_IMAGE, "jpg"))
    assert images(invoice(host, "A")) == names
    assert [store.read(image_key(name)) for name in names] == [NAVY, SEAL_IMAGE]
    assert images_of(pdf(store)) == [(30, 30), (60, 20)]
    assert "logo" not in invoice(host, "A")["inputs"]["issuer"]


def test_after_the_logo_was_replaced_old_documents_keep_their_bytes(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    run_billing(database, store=store)
    green = picture("green", (90, 20))
    store.write(LOGO, green)
    customer(host, "B")

    run_billing(database, store=store)
    operate(database, "correct", values={"correction": "宛名", "recipient_name": "青葉商事"}, store=store)
    operate(database, "send_letter", reason="確認した")
    operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=100"]}, store=store)

    assert reprinted(database, store) != pdf(store)  # The newest revision.
    host.execute("DELETE FROM batch.invoice_document WHERE revision = 1")
    before = pdf(store)
    store.delete("invoices/2026-10/INV-2026-10-001.pdf")
    run_billing(database, store=store)
    assert pdf(store) == before
    assert images(invoice(host, "B"))[0] == name_of(green, "png")
    for name in ("INV-2026-10-001-r2", "CRN-2026-10-001"):
        assert (60, 20) in images_of(pdf(store, name))


def test_an_approved_and_a_reissued_invoice_have_the_logo(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    host.execute("""DELETE FROM batch.usage_day""")
    host.execute("""DELETE FROM "MST_Tenant" """)
    jump(database, host, store)
    run_billing(database, store=store)
    assert invoice(host, "A")["status"] == "draft"
    green = picture("green")
    store.write(LOGO, green)

    operate(database, "approve", "HD001", store=store)
    assert (invoice(host, "A")["status"], images(invoice(host, "A"))[0]) == (
        "finalized",
        name_of(green, "png"),
    )

    operate(database, "reissue", "HD001", reason="訂正", values={"accept_change": True}, store=store)
    assert images(invoices(host, "A")[-1])[0] == name_of(green, "png")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "保存先にありません。"),
        (b"<svg/>", "PNG でも JPEG でもありません。"),
        (picture(form="GIF"), "PNG でも JPEG でもありません。"),
        (NAVY + b"\0" * LARGEST_BYTES, "500 KB を超えます。"),
        (picture(size=(2_001, 2_000)), "4,000,000 画素を超えます。"),
        (picture(form="JPEG", mode="CMYK"), "PDF に使えません"),
        (NAVY[:60], "PDF に使えません"),
        (b"", "PNG でも JPEG でもありません。"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_before_anything_is_billed(
    database: Database, host: psycopg.Connection, store: ObjectStore, content: bytes | None, problem: str
) -> None:
    store.delete(LOGO)
    if content is not None:
        store.write(LOGO, content)

    with pytest.raises(SettingsError) as refusal:
        run_billing(database, store=store)

    assert str(refusal.value).startswith("設定 billing.issuer.logo の画像 'issuer/logo.png' は、")
    assert problem in str(refusal.value)
    assert invoices(host) == []
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (0,)


def test_the_largest_images_can_be_used(database: Database, store: ObjectStore) -> None:
    store.write(LOGO, picture(size=(2_000, 2_000)))
    store.write(SEAL, picture(mode="LA", size=(1, 1)))

    assert run_billing(database, store=store).status == "completed"


def test_an_unusable_logo_stops_only_runs_that_issue_invoices(database: Database, store: ObjectStore) -> None:
    run_billing(database, store=store)
    store.delete(LOGO)

    credited = operate(database, "part_credit", reason="障害", values={"credit_lines": ["1=1"]}, store=store)

    assert credited.status == "completed"
    assert run_billing(database, dry_run=True).status == "completed"


@pytest.mark.parametrize("kept", [None, b"another image"])
def test_a_kept_image_that_is_gone_or_altered_is_an_error(
    database: Database, store: ObjectStore, kept: bytes | None
) -> None:
    run_billing(database, store=store)
    key = image_key(name_of(NAVY, "png"))
    store.delete(key)
    if kept:
        store.write(key, kept)

    with pytest.raises(BillingError, match=f"'{key}' が保存先にないか、内容が違います"):
        reprinted(database, store)
    with pytest.raises(BillingError, match="保存先のバックアップから戻してください"):
        reprinted(database, None)


def test_without_images_content_is_as_before(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, issuer=demo_issuer())

    run_billing(database, store=store)

    assert images(invoice(host, "A")) == (None, None)
    assert images_of(pdf(store)) == []
    assert reprinted(database, None) == pdf(store)
    assert not store.exists("issuer/images")


@pytest.mark.parametrize(
    "key", ["../logo.png", "/etc/passwd", "issuer//logo.png", "issuer/../x", ".hidden", "a\\b"]
)
def test_a_setting_that_is_no_key_is_refused(key: str) -> None:
    issuer = demo_issuer(logo=key)
    lines = "\n".join(f"    {name}: {value!r}" for name, value in issuer.items() if isinstance(value, str))
    text = f"billing:\n  issuer:\n    sample: false\n    corporate: true\n{lines}\n"

    with pytest.raises(SettingsError, match="保存先のキー"):
        parse_settings(text, "own.yaml")
