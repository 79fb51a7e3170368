"""What this installation says in Airflow's connections and Variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.log import mask_secret
from psycopg.conninfo import make_conninfo

from include.errors import ConnectionMissingError
from skill_batch.lookup import find_connection, find_variable
from skill_batch.object_storage import object_store

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from include.execution.object_store import ObjectStore

_DEFAULT_PORT = 5432


class AirflowInstallation:
    """An ``Installation`` that reads each value when it is asked for."""

    def database(self, name: str) -> str:
        """A Postgres connection as libpq reads it; what its extra says is passed on."""
        connection = required_connection(name, "Postgres")
        return make_conninfo(
            host=connection.host or "",
            port=connection.port or _DEFAULT_PORT,
            dbname=connection.schema or "",
            user=connection.login or "",
            password=connection.password or "",
            **connection.extra_dejson,
        )

    def secret(self, name: str) -> str:
        """The password of a connection of any type."""
        password = required_connection(name, "Generic").password
        if not password:
            raise ConnectionMissingError(f"Airflow の接続 '{name}' にパスワード（鍵）がありません。")
        mask_secret(password)
        return password

    def variable(self, name: str) -> str:
        """An Airflow Variable."""
        return (find_variable(name) or "").strip()

    def store(self) -> ObjectStore:
        """The store of the Variable ``batch_storage_url``."""
        return object_store()


def required_connection(name: str, kind: str) -> Connection:
    """The connection; ``kind`` is the type that an operator chooses in the form.

    :raises ConnectionMissingError: Airflow defines none. :raises AirflowUnavailableError: Airflow could not be asked; another try may help.
    """
    connection = find_connection(name)
    if connection is None:
        raise ConnectionMissingError(
            f"Airflow の接続 '{name}' が定義されていません。Connections で作成してください（種類 {kind}）。"
        )
    return connection
