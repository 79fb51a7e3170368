"""Each kind of object in the store, damaged in each way: what reads it says so, and goes on with the others."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from skill_batch.board import archived_files
from skill_batch.board.store_access import ArchivedFileError
from include.skillreport.batches.data_backup.deleted_tenants import (
    ENTRY,
    RegisterEntry,
    hold_off_deletion,
    mark_deleted_tenants,
    register_folder,
    write_entry,
)
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, MANIFEST, BackupDamagedError
from include.skillreport.batches.data_backup.ledger import find_backup, record_stored_backups
from include.skillreport.batches.data_backup.mac import SUFFIX
from include.skillreport.batches.data_backup.tenant_export import manifest_path
from include.skillreport.batches.log_cleanup.batch import EXPIRED
from include.skillreport.batches.log_cleanup.marked import folder_of
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.actions import payments
from include.skillreport.billing.actions.fields import PAYMENTS
from include.skillreport.billing.documents import issuer_images
from include.skillreport.billing.documents.invoice import Issuer
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.settings import IssuerSettings
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Outcome, UnitResult
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.messaging.channels import EMAIL
from include.skillreport.messaging.letter_files import with_content
from include.skillreport.messaging.message import Message, MessageFile
from include.skillreport.messaging.outcome import SendResult
from include.skillreport.operations.operate_contracts import form
from include.skillreport.operations.operate_contracts import rows as contract_rows
from tests.conftest import Database
from tests.worlds.backup_stages import backups, taken
from tests.worlds.backups import HOSTILE, TODAY, Backups
from tests.worlds.billing_rows import reasons
from tests.worlds.damaged_files import DAMAGES, damaged, repaired
from tests.worlds.marked_rows import SUNDAY, clean, deletable, planted, with_deletion

__all__ = ["backups", "deletable", "taken", "with_deletion"]

CONTENT = b"%PDF-1.7 the content of a document"
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# Then there is no file of this name.
GONE = ("missing", "a link to itself", "a named pipe")

Reader = Callable[[str], object]


def in_each_way(path: Path, read: Reader) -> None:
    """Damage the file in each way, and read it. Afterwards it is as it was."""
    content = path.read_bytes()
    for damage in DAMAGES:
        damaged(path, damage)
        try:
            read(damage)
        except BaseException as error:
            error.add_note(f"{path.name}: {damage}")
            raise
        repaired(path, content)


# Archives of deleted rows ------------------------------------------------------------------------------------------------


@pytest.mark.slow("damages or forges backups")
@pytest.mark.parametrize("kind", ["*.manifest.json", "*.jsonl.gz"])
def test_archives_of_deleted_rows(deletable: Database, tmp_path: Path, kind: str) -> None:
    archived = Backups(deletable, tmp_path / "store")
    with deletable.connect() as host:
        planted(host, "a1")
        planted(host, "b1")
    clean(deletable, archived.store)
    (path,) = (archived.root / folder_of("A")).rglob(kind)
    (name,) = (each.name for each in (archived.root / folder_of("A")).rglob("*.manifest.json"))
    archive = f"{SUNDAY}/{name.removesuffix('.manifest.json')}"

    def read(damage: str) -> None:
        listing, details = archived.restore("list_deleted_rows", "A", "B")
        assert listing.status == "completed"
        assert details["B"] == {"archives": 1}
        if path.name == name and damage == "missing":
            with pytest.raises(ParameterError):
                archived.restore("restore_deleted_rows", "A", archive=archive)
        else:
            result, _ = archived.restore("restore_deleted_rows", "A", archive=archive)
            assert "は読めないか、壊れています" in reasons(result)["A"]
        expired: Outcome = clean(deletable, archived.store, day=SUNDAY + timedelta(days=371), dry_run=True)[
            EXPIRED
        ]
        assert isinstance(expired, UnitResult)
        assert expired.details["planned"] == 2

    in_each_way(path, read)


# Backups, and the register of deleted tenants ------------------------------------------------------------------------------


@pytest.mark.slow("damages or forges backups")
@pytest.mark.parametrize(
    "kind",
    [
        MANIFEST,
        f"{MANIFEST}{SUFFIX}",
        DUMP_MANIFEST,
        manifest_path("A"),
        f"{Path(manifest_path('A')).parent}/*.zst",
    ],
)
def test_backups(taken: Backups, kind: str) -> None:
    backup_id = taken.newest
    path = next(each for each in sorted((taken.root / "backups" / backup_id).glob(kind)) if each.is_file())
    is_of_tenant = "tenants" in kind
    run, _ = taken.open(TODAY + timedelta(days=1))
    now = datetime.now(UTC)

    def read(damage: str) -> None:  # noqa: ARG001
        if is_of_tenant:
            with taken.database.connect() as connection, pytest.raises(BackupDamagedError):
                taken.restore_tenant(connection, backup_id, "A")
            return
        with taken.database.connect("batch_platform") as platform, platform.transaction(force_rollback=True):
            # The ledger of a restored database knows neither this backup nor the damage.
            platform.execute("DELETE FROM batch.backup")
            record_stored_backups(platform, taken.store, taken.mac_keys, run, now)
            assert platform.execute("SELECT FROM batch.backup").fetchall() == []
            with pytest.raises(BackupDamagedError):
                find_backup(platform, taken.store, backup_id, taken.mac_keys, now=now, day=run.business_date)

    in_each_way(path, read)


def test_the_register_of_deleted_tenants(backups: Backups) -> None:
    for tenant_id in ("A", HOSTILE):
        write_entry(
            backups.store, backups.mac_keys, RegisterEntry(tenant_id, "x", datetime(2026, 10, 1, tzinfo=UTC))
        )

    def read(damage: str) -> None:
        with backups.database.connect() as connection, connection.transaction(force_rollback=True):
            hold_off_deletion(connection, backups.store, backups.mac_keys, "A")
            register = mark_deleted_tenants(connection, backups.store, backups.mac_keys)
        assert register.repeated == [HOSTILE]
        is_there = damage not in ("missing", "a link to itself")
        assert register.unproved == ([tenant_folder("A")] if is_there else [])

    for suffix in ("", SUFFIX):
        path = backups.root / register_folder("A") / f"{ENTRY}{suffix}"
        in_each_way(path, lambda damage: read("" if path.name.endswith(SUFFIX) else damage))  # noqa: B023


# Documents, images and files of people ---------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


def test_documents_on_the_board(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "invoices/2026-10/INV-2026-10-001.pdf"
    path = Path(store.write(key, CONTENT))
    monkeypatch.setenv(
        "AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f"file://{store.location('x').removesuffix('/x')}"
    )

    def read(_: str) -> None:
        archived_files.forget()
        with pytest.raises(ArchivedFileError):
            archived_files.read_recorded(key, SHA256, len(CONTENT))

    in_each_way(path, read)


def test_files_of_letters(store: ObjectStore) -> None:
    key = "invoices/2026-10/INV-2026-10-001.pdf"
    path = Path(store.write(key, CONTENT))
    file = MessageFile("a.pdf", key, SHA256, True, "", "")
    message = Message("m", "A", EMAIL, "a@example.jp", "s", "t", file=file)

    def read(damage: str) -> None:
        answer = asyncio.run(with_content(message, store))
        assert isinstance(answer, SendResult)
        assert answer.error is not None
        codes = {"a folder": "store_unreadable"} | dict.fromkeys(GONE, "file_missing")
        assert answer.error.code == codes.get(damage, "file_altered")

    in_each_way(path, read)


def test_images_of_the_issuer_are_written_again(store: ObjectStore) -> None:
    image = BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    store.write("issuer/logo.png", image.getvalue())
    settings = IssuerSettings.model_construct(logo="issuer/logo.png", seal="")
    name = issuer_images.keep_images(settings, store)["logo"]
    issuer: Any = Issuer.model_construct(logo=name, seal="")

    def read(_: str) -> None:
        with pytest.raises(BillingError, match="ロゴか印影"):
            issuer_images.read_images(issuer, store)
        issuer_images.keep_images(settings, store)
        assert issuer_images.read_images(issuer, store) == {name: image.getvalue()}

    in_each_way(Path(store.location(issuer_images.image_key(name))), read)


def test_kept_bank_files_are_written_again(store: ObjectStore) -> None:
    def keep() -> Path:
        store.write(f"{bank_inbox.INCOMING}/bank.csv", CONTENT)
        return Path(store.location(bank_inbox.keep(store, "bank.csv", CONTENT, SHA256, date(2026, 11, 1))))

    path = keep()

    def read(_: str) -> None:
        assert keep().read_bytes() == CONTENT
        assert store.names(bank_inbox.INCOMING) == []

    in_each_way(path, read)


def test_files_that_people_put_there(store: ObjectStore) -> None:
    """An incoming file has no proof. Its reader names it, or parses what it finds."""
    entered = form.ImportFile.model_construct(imported_file="a.csv")
    readers: dict[str, Reader] = {
        f"{bank_inbox.INCOMING}/a.csv": lambda _: bank_inbox.read(store, "a.csv"),
        f"{PAYMENTS}/a.csv": lambda _: payments._read(store, "a.csv"),
        "contracts/incoming/a.csv": lambda _: contract_rows.content_of(store, entered),
    }
    named: list[str] = []
    for key, reader in readers.items():

        def read(damage: str, reader: Reader = reader) -> None:
            try:
                reader(damage)
            except FileNotFoundError:
                assert damage in GONE
            except ParameterError as error:
                named.append(str(error))

        in_each_way(Path(store.write(key, CONTENT)), read)
    assert all("a.csv" in text for text in named)


@pytest.mark.parametrize("name", ["a\\b", os.fsdecode(b"\xff"), "line\nbreak"])
def test_a_name_that_no_key_contains_is_in_no_list(
    store: ObjectStore, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = Path(store.write("a/good", b""))
    path.with_name(name).touch()

    assert store.names("a") == ["good"]
    assert [entry.name for entry in store.entries("a")] == sorted(["good", name])
    assert "no key names" in caplog.text
