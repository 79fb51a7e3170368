"""Restore without Airflow, which may be down: ``python -m include.skillreport backup --help``.

The connection string comes from SKILL_BATCH_BACKUP_DSN, the age key of an encrypted backup from SKILL_BATCH_BACKUP_KEY, and the keys of the
MACs, separated by spaces, from SKILL_BATCH_BACKUP_MAC, so a list of processes shows none. A backup without a record in that database needs
its MAC.
"""

from __future__ import annotations

import argparse
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
from include.skillreport.batches.data_backup.ledger import find_backup, read_stored
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.restore import entry_of, restore_as_new, restore_one_tenant
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.settings import MOST_JOBS
from include.skillreport.core.docstrings import docstring_of
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

DSN_VARIABLE, KEY_VARIABLE = "SKILL_BATCH_BACKUP_DSN", "SKILL_BATCH_BACKUP_KEY"
MAC_VARIABLE = "SKILL_BATCH_BACKUP_MAC"


def add_backup(actions: Actions) -> None:
    """Add ``backup`` with its commands. It has the function of the command as ``run``."""
    text = "list the backups, and restore one"
    parser = actions.add_parser("backup", help=text, description=docstring_of(__file__))
    parser.add_argument(
        "--store", required=True, help="as the Variable skill_batch_storage_url: a folder or URL"
    )
    parser.add_argument(
        "--bin", default="", help="folders of pg_restore (default: those of the packages, and the PATH)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        choices=range(1, MOST_JOBS + 1),
        default=2,
        metavar="N",
        help=f"processes of pg_restore, at most {MOST_JOBS}",
    )
    commands = parser.add_subparsers(required=True)

    listing = commands.add_parser("list", help="the complete backups, oldest first")
    listing.set_defaults(run=_list)

    restore = commands.add_parser("restore", help="the whole database into a new one")
    restore.add_argument("backup", help="BKP_YYYYMMDD_NNN")
    restore.add_argument("database", help="name of the new database")
    restore.add_argument("--no-owners", action="store_true", help="all tables belong to the login; no grants")
    _add_without_mac(restore)
    restore.set_defaults(run=_restore)

    tenant = commands.add_parser("tenant", help="one tenant into a schema of its own, with a conflict report")
    tenant.add_argument("backup", help="BKP_YYYYMMDD_NNN")
    tenant.add_argument("tenant_id")
    tenant.add_argument("--merge", action="store_true", help="and over the live rows of the application")
    _add_without_mac(tenant)
    tenant.set_defaults(run=_tenant)


def _add_without_mac(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-mac",
        action="store_true",
        help="accept a backup that neither the database nor a MAC proves: who writes into the store can run SQL",
    )


def _list(options: argparse.Namespace) -> None:
    store = _store(options.store)
    for backup_id in store.names(FOLDER):
        if is_complete(store, backup_id):
            now = datetime.now(UTC)
            day = now.astimezone(JAPAN).date()
            try:
                stored = read_stored(
                    store, backup_id, _mac_keys(), recorded=None, now=now, day=day, without_mac=True
                )
            except BackupDamagedError as error:
                print(f"{backup_id}  {error}")
                continue
            encrypted = "、暗号化" if stored.encrypted else ""
            proof = "" if stored.has_mac or not _mac_keys().keys else "、検証コード（MAC）なし"
            print(
                f"{backup_id}  {stored.snapshot_at.astimezone(JAPAN):%Y-%m-%d %H:%M}、"
                f"{stored.total_bytes:,} バイト{encrypted}{proof}"
            )


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
    """The files of the backup, and its manifest's hash, by the database, the MAC, or the person who runs the command."""
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
    # upath comes with Airflow, together with the packages for the URL schemes that the installation uses.
    from upath import UPath

    return ObjectStore(cast("Path", UPath(url)))
