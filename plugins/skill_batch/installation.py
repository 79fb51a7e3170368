"""What this installation says in Airflow's connections and Variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret
from psycopg.conninfo import make_conninfo

from include.errors import ConnectionMissingError
from skill_batch.object_storage import object_store

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from include.execution.object_store import ObjectStore

_DEFAULT_PORT = 5432


class AirflowInstallation:
    """An ``Installation`` that reads each value when it is asked for."""

    def database(self, name: str) -> str:
        """A Postgres connection as libpq reads it; what its extra says is passed on."""
        connection = _connection(name, "Postgres")
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
        password = _connection(name, "Generic").password
        if not password:
            raise ConnectionMissingError(f"Airflow の接続 '{name}' にパスワード（鍵）がありません。")
        mask_secret(password)
        return password

    def variable(self, name: str) -> str:
        """An Airflow Variable."""
        value: str = Variable.get(name, default="")
        return value.strip()

    def store(self) -> ObjectStore:
        """The store of the Variable ``batch_storage_url``."""
        return object_store()


def _connection(name: str, kind: str) -> Connection:
    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise ConnectionMissingError(
            f"Airflow の接続 '{name}' が定義されていません。Connections で作成してください（種類 {kind}）。"
        ) from None
