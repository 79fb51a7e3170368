"""The access to an installation's backups: the login that reads all rows, the tools, the keys, and the store."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from include.skillreport.batches.data_backup.files import FOLDER, KEY_CONNECTION, Packer
from include.skillreport.batches.data_backup.mac import MAC_CONNECTION, MacKeys
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.server import CONNECTION, DatabaseServer
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.core.errors import ConnectionMissingError, SettingsError
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.postgres_programs import BIN_VARIABLE


@dataclass(frozen=True)
class BackupAccess:
    """The access that the batch and the restore share. Values are looked up when needed."""

    settings: BackupSettings
    installation: Installation

    def check(self) -> None:
        """Check, before anything is written, that the login sees all rows, the tools fit the server, and the needed keys exist. Raises the
        errors of ``DatabaseServer.check``, ``identity`` and ``mac_keys``.
        """
        self.server().check()
        self.identity()
        self.mac_keys()

    def server(self) -> DatabaseServer:
        """The server, with the backup's own login."""
        return DatabaseServer(
            self.installation.database(CONNECTION), self.installation.variable(BIN_VARIABLE)
        )

    def store(self) -> ObjectStore:
        """The store of the backups. :raises SettingsError: no store is configured."""
        store = self.installation.store()
        if store is None:
            raise SettingsError("バックアップの保存先がありません。")
        return store

    def identity(self) -> str | None:
        """The age key. Without encryption it is optional, and opens earlier, encrypted backups.

        :raises ConnectionMissingError: new files are encrypted, but the key does not exist.
        """
        try:
            return self.installation.secret(KEY_CONNECTION)
        except ConnectionMissingError:
            if self.settings.encrypted:
                raise
            return None

    def mac_keys(self) -> MacKeys:
        """The MAC keys; none without the connection. :raises SettingsError: a key is too short."""
        return MacKeys(self.installation.keys(MAC_CONNECTION))

    def packer(self, store: ObjectStore, backup_id: str, *, encrypted: bool | None = None) -> Packer:
        """Packs and unpacks the files of one backup. ``encrypted``: the recorded value; None: a new backup."""
        return self.folder_packer(store, f"{FOLDER}/{backup_id}", encrypted=encrypted)

    def folder_packer(self, store: ObjectStore, folder: str, *, encrypted: bool | None = None) -> Packer:
        """Packs and unpacks the files of a folder of the store like a backup's."""
        return Packer(
            store,
            folder,
            level=self.settings.compression_level,
            identity=self.identity(),
            encrypts=self.settings.encrypted if encrypted is None else encrypted,
            only_encrypted=bool(encrypted),
        )

    def scratch(self, backup_id: str) -> psycopg.Connection:
        """A connection to the database with the run's restored dump. :raises BackupError: it does not exist."""
        server = self.server()
        database = server.scratch_database(backup_id)
        if not server.databases(database):
            raise BackupError(f"検証用データベース {database} がありません。", "DUMP_MISSING")
        return server.connect(database)
