"""The choice among several installed versions of pg_dump and pg_restore, and dumps of a newer version."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from include.skillreport.batches.data_backup.database_dump import store_dump
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, Manifest, Packer, write_out
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import restore_database
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import exported_snapshot
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.postgres_programs import UnsuitableProgramsError, find_programs
from include.skillreport.schema.checks.report import check_database
from tests.conftest import Database
from tests.worlds.backups import BIN, Backups, files, programs


def install(parent: Path, *versions: int, layout: str = "{}/bin") -> str:
    """Programs of these versions side by side, as packages install them; returns the folder of the last one."""
    folder = parent
    for version in versions:
        folder = parent / layout.format(version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        programs(folder, "exit 1", version=f"echo 'pg_dump (PostgreSQL) {version}.4 (Debian {version}.4-1)'")
    return str(folder)


@pytest.mark.parametrize(
    ("installed", "server", "chosen"),
    [
        ((15, 16, 17, 18), 15, 15),
        ((15, 16, 17, 18), 16, 16),
        ((15, 16, 17, 18), 17, 17),
        ((15, 18), 17, 18),
        ((18, 19), 17, 18),
        ((9, 10, 15, 18), 10, 10),
    ],
)
@pytest.mark.parametrize("layout", ["{}/bin", "pgsql-{}/bin"])
def test_the_servers_own_version_is_chosen_and_then_the_next_newer_one(
    tmp_path: Path, installed: tuple[int, ...], server: int, chosen: int, layout: str
) -> None:
    named = install(tmp_path, *installed, layout=layout)
    assert find_programs(named, server) == str(tmp_path / layout.format(chosen))


def test_a_folder_without_version_layout_serves_its_own_version_only(tmp_path: Path) -> None:
    install(tmp_path, 15, 18)
    own = install(tmp_path, 18, layout="own{}/programs")
    assert find_programs(own, 18) == own
    with pytest.raises(UnsuitableProgramsError, match="見つかった版: 18）"):
        find_programs(own, 15)
    several = os.pathsep.join((own, str(tmp_path / "15" / "bin")))
    assert find_programs(several, 18) == own
    assert find_programs(several, 15) == str(tmp_path / "15" / "bin")


def test_a_folder_without_pg_restore_does_not_count(tmp_path: Path) -> None:
    install(tmp_path, 15, 18)
    (tmp_path / "15" / "bin" / "pg_restore").unlink()
    with pytest.raises(UnsuitableProgramsError, match="見つかった版: 18）"):
        find_programs(str(tmp_path / "15" / "bin"), 15)


def test_a_program_of_another_machine_does_not_count(tmp_path: Path) -> None:
    install(tmp_path, 15, 18)
    (tmp_path / "15" / "bin" / "pg_dump").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(UnsuitableProgramsError, match="見つかった版: 18）"):
        find_programs(str(tmp_path / "15" / "bin"), 15)


@pytest.mark.parametrize(
    ("installed", "server", "sentence"),
    [
        ((), 15, "動く pg_dump と pg_restore が見つかりません。PostgreSQL 15 のクライアントを入れ"),
        ((), 18, "見つかりません。PostgreSQL 18 以上のクライアントを入れ"),
        ((15,), 18, "使える pg_dump と pg_restore がありません（見つかった版: 15）。PostgreSQL 18 以上の"),
        ((17, 18), 16, "（見つかった版: 17、18）。PostgreSQL 16 のクライアントを入れ"),
        ((15, 17), 16, "（見つかった版: 15、17）。PostgreSQL 16 のクライアントを入れ"),
    ],
)
def test_without_a_suitable_version_the_error_names_installed_and_needed_ones(
    tmp_path: Path, installed: tuple[int, ...], server: int, sentence: str
) -> None:
    with pytest.raises(UnsuitableProgramsError, match=sentence) as refusal:
        find_programs(install(tmp_path, *installed), server)
    assert tuple(refusal.value.installed) == installed
    assert "Variable 'skill_batch_postgres_bin'" in str(refusal.value)


def test_an_unsuitable_version_is_refused_by_the_check_and_the_run(
    database: Database, tmp_path: Path
) -> None:
    named = install(tmp_path, 12, 14)
    backups = Backups(database, tmp_path / "store", bin_dir=named)
    with pytest.raises(UnsuitableProgramsError) as refusal:
        backups.open()
    findings = {each.code: each.text for each in check_database(database.dsn, bin_dir=named).findings}
    assert findings["pg-dump-old"] == str(refusal.value)
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (0,)
    assert not backups.root.exists()


def test_a_newer_dump_format_is_refused_before_a_database_is_created(
    database: Database, tmp_path: Path
) -> None:
    """The third byte of the version in the table of contents counts up when pg_dump changes its format."""
    server, copy = DatabaseServer(database.dsn, BIN), f"{database.name}_copy"
    packer = Packer(ObjectStore(tmp_path / "store"), "backups/b")
    with server.connect() as connection, exported_snapshot(connection) as snapshot:
        stored = store_dump(server, packer, snapshot, tmp_path / "dump", jobs=2, waiting_bytes=1 << 20)
    contents = next(file for file in stored if "toc.dat" in file.path)
    write_out(packer, contents, tmp_path / "toc.dat")
    content = bytearray((tmp_path / "toc.dat").read_bytes())
    assert content[:6] == b"PGDMP\x01"
    content[6] += 1
    (tmp_path / "toc.dat").write_bytes(content)
    with (tmp_path / "toc.dat").open("rb") as source:
        newer = packer.pack(source, "dump/toc.dat")
    written = packer.write_manifest(
        Manifest({}, [newer if file == contents else replace(file) for file in stored]), DUMP_MANIFEST
    )

    with pytest.raises(
        BackupError, match=r"新しい版の pg_dump で取られたため.*サーバーに復元してください。$"
    ):
        restore_database(server, packer, copy, 2, sha256=written.sha256)
    assert server.databases(copy) == []
    assert files(tmp_path / "store")
