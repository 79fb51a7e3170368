"""Restore without Airflow, which may be down: ``python -m include.skillreport backup --help``."""

from __future__ import annotations

import argparse
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from include.skillreport.batches.data_backup.files import (
    BACKUP_ID,
    DUMP_MANIFEST,
    FOLDER,
    MANIFEST,
    BackupDamagedError,
    Packer,
    is_complete,
)
from include.skillreport.batches.data_backup.ledger import StoredBackup, find_backup, read_stored
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.restore import entry_of, restore_as_new, restore_one_tenant
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.settings import MOST_JOBS
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

DSN_VARIABLE, KEY_VARIABLE = "SKILL_BATCH_BACKUP_DSN", "SKILL_BATCH_BACKUP_KEY"
MAC_VARIABLE = "SKILL_BATCH_BACKUP_MAC"
# Not arguments, because a list of processes would show them.
_VARIABLES = (
    f"接続文字列は {DSN_VARIABLE}、暗号化したバックアップの age の鍵は {KEY_VARIABLE}、検証コード（MAC）の鍵は {MAC_VARIABLE}"
    "（複数は空白で区切る）に設定します。"
)


def add_backup(actions: Actions) -> None:
    """Add ``backup`` with its commands. ``run`` is the command's function."""
    text = "バックアップの一覧と、Airflow を使わない復元"
    parser = actions.add_parser("backup", help=text, description=f"{text}。{_VARIABLES}")
    parser.add_argument(
        "--store", required=True, help="保存先のフォルダーか URL（Variable skill_batch_storage_url と同じ）"
    )
    parser.add_argument("--bin", default="", help="pg_restore のフォルダー（既定: パッケージの場所と PATH）")
    parser.add_argument(
        "--jobs",
        type=int,
        choices=range(1, MOST_JOBS + 1),
        default=2,
        metavar="N",
        help=f"pg_restore のプロセス数（既定 2、{MOST_JOBS} まで）",
    )
    commands = parser.add_subparsers(required=True, metavar="コマンド")

    listing = commands.add_parser("list", help="完了したバックアップの一覧（古い順）")
    listing.add_argument("--json", action="store_true", help="一覧を JSON で出す")
    listing.set_defaults(run=_list)

    restore = commands.add_parser("restore", help="全体を新しいデータベースに復元する")
    restore.add_argument("backup", help="バックアップの名前（BKP_YYYYMMDD_NNN）")
    restore.add_argument("database", help="新しいデータベースの名前")
    restore.add_argument(
        "--no-owners", action="store_true", help="全部の表をログインの所有とし、権限を付けない"
    )
    _add_without_mac(restore)
    restore.set_defaults(run=_restore)

    tenant = commands.add_parser("tenant", help="1 テナントを専用のスキーマに復元し、今の行と比べる")
    tenant.add_argument("backup", help="バックアップの名前（BKP_YYYYMMDD_NNN）")
    tenant.add_argument("tenant_id")
    tenant.add_argument("--merge", action="store_true", help="アプリケーションの今の行にも反映する")
    _add_without_mac(tenant)
    tenant.set_defaults(run=_tenant)


def _add_without_mac(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-mac",
        action="store_true",
        help="データベースの記録も検証コード（MAC）もないバックアップを使う。保存先に書ける人は SQL を実行できる",
    )


def _list(options: argparse.Namespace) -> None:
    store, keys, now = _store(options.store), _mac_keys(), datetime.now(UTC)
    day = now.astimezone(JAPAN).date()
    listed: list[tuple[str, StoredBackup | BackupDamagedError]] = []
    for backup_id in store.names(FOLDER):
        if is_complete(store, backup_id):
            try:
                found = read_stored(store, backup_id, keys, recorded=None, now=now, day=day, without_mac=True)
            except BackupDamagedError as error:
                listed.append((backup_id, error))
            else:
                listed.append((backup_id, found))
    if options.json:
        print(json.dumps([_record_of(*entry) for entry in listed], ensure_ascii=False, indent=2))
    elif listed:
        print("\n".join(_line_of(*entry, with_mac=bool(keys.keys)) for entry in listed))
    else:
        print("完了したバックアップはありません。")


def _record_of(backup_id: str, found: StoredBackup | BackupDamagedError) -> dict[str, object]:
    if isinstance(found, BackupDamagedError):
        return {"backup": backup_id, "problem": str(found)}
    return {
        "backup": backup_id,
        "snapshot_at": found.snapshot_at.astimezone(JAPAN).isoformat(timespec="minutes"),
        "bytes": found.total_bytes,
        "encrypted": found.encrypted,
        "mac": found.has_mac,
    }


def _line_of(backup_id: str, found: StoredBackup | BackupDamagedError, *, with_mac: bool) -> str:
    if isinstance(found, BackupDamagedError):
        return f"{backup_id}  {found}"
    encrypted = "、暗号化" if found.encrypted else ""
    proof = "" if found.has_mac or not with_mac else "、検証コード（MAC）なし"
    taken = found.snapshot_at.astimezone(JAPAN)
    return f"{backup_id}  {taken:%Y-%m-%d %H:%M}、{found.total_bytes:,} バイト{encrypted}{proof}"


def _restore(options: argparse.Namespace) -> None:
    packer, manifest_sha256 = _proved(options)
    sha256 = entry_of(packer.read_manifest(MANIFEST, manifest_sha256), DUMP_MANIFEST)
    done, *notes = restore_as_new(
        _server(options),
        packer,
        options.database,
        options.jobs,
        sha256=sha256,
        keys=_mac_keys(),
        with_owners=not options.no_owners,
        owner=f"by_hand_{secrets.token_hex(4)}",
    )
    print("\n".join(f"{sentence.rstrip('。')}。" for sentence in (f"{options.backup} を{done}", *notes)))


def _tenant(options: argparse.Namespace) -> None:
    packer, sha256 = _proved(options)
    with _server(options).connect() as connection:
        done = restore_one_tenant(
            connection,
            packer,
            options.tenant_id,
            manifest_sha256=sha256,
            keys=_mac_keys(),
            merged=options.merge,
        )
    print("\n".join(done.lines()))


def _server(options: argparse.Namespace) -> DatabaseServer:
    dsn = os.environ.get(DSN_VARIABLE)
    if not dsn:
        raise ParameterError(f"接続文字列を環境変数 {DSN_VARIABLE} に設定してください。")
    return DatabaseServer(dsn, options.bin)


def _proved(options: argparse.Namespace) -> tuple[Packer, str]:
    """The backup's files, and its manifest's hash, proved by the database, the MAC, or the user of the command."""
    if not BACKUP_ID.fullmatch(options.backup):
        raise ParameterError(
            f"'{options.backup}' はバックアップの名前ではありません（BKP_YYYYMMDD_NNN）。list で一覧を表示できます。"
        )
    store, now = _store(options.store), datetime.now(UTC)
    with _server(options).connect() as connection:
        found = find_backup(
            connection,
            store,
            options.backup,
            _mac_keys(),
            now=now,
            day=now.astimezone(JAPAN).date(),
            without_mac=options.without_mac,
        )
    packer = Packer(
        store,
        f"{FOLDER}/{options.backup}",
        identity=os.environ.get(KEY_VARIABLE),
        only_encrypted=found.encrypted,
    )
    return packer, found.manifest_sha256


def _mac_keys() -> MacKeys:
    return MacKeys(os.environ.get(MAC_VARIABLE, "").split())


def _store(url: str) -> ObjectStore:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return ObjectStore(Path(rest if separator else url))
    # Airflow provides upath and the packages for the installation's URL schemes.
    from upath import UPath

    return ObjectStore(cast("Path", UPath(url)))
