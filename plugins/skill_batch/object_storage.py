"""The object store of this installation, for invoices, reports, archives and backups."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from airflow.sdk import ObjectStoragePath

from skill_batch.lookup import find_variable
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.object_store import ObjectStore

VARIABLE = "skill_batch_storage_url"
UPLOAD_VARIABLE = "skill_batch_upload_url"


def object_store() -> ObjectStore:
    """The store of the Airflow Variable ``skill_batch_storage_url``: ``file:///data/batch``, ``s3://aws_default@bucket/batch`` …

    The part before ``@`` is an Airflow connection. :raises SettingsError: the Variable is not an absolute URL.
    """
    return _store(VARIABLE, find_variable(VARIABLE) or "")


def find_upload_store() -> ObjectStore | None:
    """The store of the Variable ``skill_batch_upload_url``: the same place, with a connection that may only write uploaded files.

    None: uploads are disabled. :raises SettingsError: as ``object_store``.
    """
    url = find_variable(UPLOAD_VARIABLE)
    return _store(UPLOAD_VARIABLE, url) if url else None


def find_object_store() -> ObjectStore | None:
    """As ``object_store``, but None if the Variable is not an absolute URL."""
    try:
        return object_store()
    except SettingsError:
        return None


def _store(variable: str, given: str) -> ObjectStore:
    url = given.strip()
    scheme, _, rest = url.partition("://")
    if not rest or (scheme == "file" and not rest.startswith("/")):
        raise SettingsError(
            f"ファイルの保存先がありません。Airflow の Variable '{variable}' に file:///data/batch や "
            f"s3://aws_default@bucket/batch の形で設定してください（現在の値: '{url}'）。"
        )
    # Has the methods of pathlib.Path that ObjectStore uses, and the connection's credentials.
    return ObjectStore(cast("Path", ObjectStoragePath(url)))
