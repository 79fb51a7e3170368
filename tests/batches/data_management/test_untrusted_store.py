"""Whoever can write into the object store decides neither what a restore runs nor which backups are deleted."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest

from include.skillreport.__main__ import main
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.deleted_tenants import (
    ENTRY,
    REGISTER,
    RegisterEntry,
    write_entry,
)
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, MANIFEST, BackupDamagedError
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.settings import RetentionSettings
from include.skillreport.batches.data_backup.tenant_export import manifest_path
from include.skillreport.core.catalog import STATISTICS
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run, Work
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.core.execution.run_log import require_deletions_repeated
from tests.worlds.backup_stages import backups, taken
from tests.worlds.backups import BIN, HOSTILE, MAC_KEY, TODAY, Backups
from tests.worlds.untrusted_stores import Attacker, forged, rehash

__all__ = ["backups", "taken"]


def dump(backups: Backups, run: Run) -> Path:
    """The task ``dump``; returns the folder of its files."""
    with backups.database.connect("batch_platform") as platform:
        backups.batch().dump(Work(run, platform, store=backups.store))
    return backups.root / "backups" / backups.newest


def check_refuses(backups: Backups, run: Run) -> None:
    """The task ``check`` ends before it uses the dump."""
    with (
        backups.database.connect("batch_platform") as platform,
        pytest.raises(BackupDamagedError, match=r"dump\.json が書き換えられています"),
    ):
        backups.batch().check(Work(run, platform, store=backups.store))


@pytest.mark.slow("damages or forges backups")
def test_a_dump_that_was_replaced_after_it_was_taken_runs_no_statement(backups: Backups) -> None:
    role = f"attacker_{os.urandom(4).hex()}"
    attacker = Attacker(f"CREATE ROLE {role}")
    with backups.database.connect() as connection:
        attacker.plant(connection)
    run, _ = backups.open()
    folder = dump(backups, run)
    attacker.replace_contents(folder)
    check_refuses(backups, run)
    with backups.database.connect() as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount == 0


def test_a_plain_file_is_refused_while_backups_are_encrypted(backups: Backups) -> None:
    backups.settings = backups.settings.model_copy(update={"encrypted": True})
    identity = pyrage.x25519.Identity.generate()
    backups.secrets["skill_batch_backup_key"] = str(identity)
    run, _ = backups.open()
    folder = dump(backups, run)
    (stored,) = (folder / "dump").glob("toc.dat*")
    plain = folder / "dump" / "toc.dat.zst"
    plain.write_bytes(pyrage.decrypt(stored.read_bytes(), [identity]))
    listed = rehash(folder, DUMP_MANIFEST, "dump/toc.dat.zst")
    check_refuses(backups, run)
    # Whatever a manifest says, the database knows that these files were encrypted.
    access = BackupAccess(backups.settings, backups.installation)
    packer = access.packer(backups.store, folder.name, encrypted=True)
    with pytest.raises(BackupDamagedError, match="暗号化されていません"), packer.unpacked(listed):
        pass


@pytest.mark.slow("damages or forges backups")
def test_forged_backups_of_the_future_cost_no_true_one(taken: Backups) -> None:
    taken.settings = taken.settings.model_copy(
        update={"retention": RetentionSettings(daily=1, weekly=0, monthly=0)}
    )
    first = taken.newest
    # Without a MAC, and with the one of a stolen key.
    for year, keys in ((2998, MacKeys()), (2999, taken.mac_keys)):
        for number in range(60):
            forged(taken, first, TODAY.replace(year=year) + timedelta(days=number), keys)
    second = taken.take(TODAY + timedelta(days=1))
    with taken.database.connect() as connection:
        known = connection.execute(
            "SELECT backup_id, status, adopted FROM batch.backup ORDER BY 1"
        ).fetchall()
    assert known == [(first, "verified", False), (second, "verified", False)]


@pytest.mark.slow("damages or forges backups")
def test_no_manifest_of_others_becomes_part_of_a_backup(backups: Backups) -> None:
    run, tenant_ids = backups.open()
    folder = dump(backups, run)
    # It completes nothing: the dump can be repeated.
    (folder / MANIFEST).write_text("{}")
    backups.first_steps(run)
    backups.tenants_step(run, tenant_ids)
    path = folder / manifest_path("A")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BackupDamagedError, match=r"manifest\.json が書き換えられています"):
        backups.close(run)
    assert not (folder / MANIFEST).exists()


def test_a_backup_of_a_lost_ledger_needs_its_mac_or_a_person(
    taken: Backups, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backup_id = taken.newest
    with taken.database.connect() as connection:
        connection.execute("DELETE FROM batch.backup")
    monkeypatch.setenv("SKILL_BATCH_BACKUP_DSN", taken.database.dsn)
    command = ["backup", "--store", str(taken.root), "--bin", BIN, "tenant", backup_id, "A"]
    other = "n" * 32
    for mac, code in (("", 1), (other, 1), (f"{other} {MAC_KEY}", 0)):
        monkeypatch.setenv("SKILL_BATCH_BACKUP_MAC", mac)
        assert main(command) == code
        taken.mac = mac
        if code:
            with pytest.raises(BackupDamagedError, match=r"正しい検証コード（MAC）もありません"):
                taken.restore("compare", "A", backup=backup_id)
        else:
            assert taken.restore("compare", "A", backup=backup_id)[0].status == "completed"
    capsys.readouterr()

    taken.mac = other
    monkeypatch.setenv("SKILL_BATCH_BACKUP_MAC", other)
    assert main([*command, "--without-mac"]) == 0
    with pytest.raises(ParameterError, match="「バックアップID」（backup）を指定してください"):
        taken.restore("compare", "A", without_mac=True)
    result, _ = taken.restore("compare", "A", backup=backup_id, without_mac=True)
    with taken.database.connect() as connection:
        (note, form) = connection.execute(
            "SELECT notes[1], parameters FROM batch.tenant_outcome INNER JOIN batch.execution_log USING (execution_id)"
            " WHERE execution_id = %s",
            [result.execution_id],
        ).fetchone() or ("", {})
    assert f"さんが、検証コードのないバックアップ {backup_id} を認めました（目録の SHA-256 " in note
    assert form["without_mac"] is True


def test_nobody_can_accept_a_manifest_that_differs_from_the_ledger(taken: Backups) -> None:
    backup_id = taken.newest
    manifest = taken.root / "backups" / backup_id / MANIFEST
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(BackupDamagedError, match=r"manifest\.json が書き換えられています"):
        taken.restore("compare", "A", backup=backup_id, without_mac=True)


@pytest.mark.slow("damages or forges backups")
def test_no_entry_of_others_stops_a_batch(backups: Backups) -> None:
    signed = {
        tenant_folder("GONE"): b"{}",
        tenant_folder(HOSTILE): json.dumps(
            {"tenant_id": "A", "offboarding_id": "x", "deleted_at": "2026-10-01T00:00:00+00:00"}
        ).encode(),
        tenant_folder("list"): b"[1]",
        tenant_folder("deep"): b"[" * 60_000,
        tenant_folder("bytes"): b"\xff\xfe",
        tenant_folder("huge"): b" " * (1 << 20),
        tenant_folder("number"): b'{"tenant_id": 1, "offboarding_id": null, "deleted_at": 2}',
    }
    for folder, content in signed.items():
        key = f"{REGISTER}/{folder}/{ENTRY}"
        backups.mac_keys.write(backups.store, key, content)
        backups.store.write(key, content)
    write_entry(backups.store, MacKeys(), RegisterEntry("A", "x", datetime(2026, 10, 1, tzinfo=UTC)))
    strange = ["back\\slash", tenant_folder("folder")]
    for name in strange:
        (backups.root / REGISTER / name / ENTRY).mkdir(parents=True)

    run, tenant_ids = backups.open()
    backups.first_steps(run)
    assert backups.tenants_step(run, tenant_ids).failures == []
    result = backups.close(run)

    assert (result.status, [each.code for each in result.problems]) == ("partial", ["ENTRY_UNPROVED"])
    assert (
        f"退会の記録（deleted_tenants/）の {len(signed) + 1 + len(strange)} 件（" in result.problems[0].text
    )
    with backups.database.connect("batch_platform") as platform:
        require_deletions_repeated(platform, STATISTICS)
        assert platform.execute("SELECT count(*) FROM batch.deleted_tenant").fetchone() == (0,)
