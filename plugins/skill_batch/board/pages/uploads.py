"""Uploads a file of payments (a bank's or our own) into the folder that its operation reads."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import PurePath
from shutil import copyfileobj
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status
from starlette.datastructures import UploadFile

from skill_batch.airflow_private.api_server import record_in_audit_log
from skill_batch.board.access import Rights, RightsDep, http_error
from skill_batch.board.actions import find_action
from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.bodies import Limits, read_form
from skill_batch.board.pages.operations import follow_run
from skill_batch.board.rendering import render
from skill_batch.board.store_access import READ, UPLOAD, ArchivedFileError, in_store
from include.skillreport.billing import bank_inbox
from include.skillreport.billing.actions.fields import PAYMENTS
from include.skillreport.billing.receivables.bank_file import MOST_BYTES
from include.skillreport.billing.receivables.payment_file import is_payment_file
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS, OPERATE_INVOICES

router = APIRouter()

_AROUND_BYTES = 10_000
# Our own file has its header within the first bytes.
_BEGINNING_BYTES = 1_000
# A slow line sends the largest file in this time.
_LIMITS = Limits(
    "{size} MB を超えています。期間を分けて取得してください",
    bytes=MOST_BYTES + _AROUND_BYTES,
    seconds=180.0,
    files=1,
    fields=1,
)


def _may_import(rights: RightsDep) -> Rights:
    """The rights of a user who may import one of the kinds. :raises HTTPException: 403, the user may import neither."""
    may_operate = rights.may_start(OPERATE_INVOICES.dag_id)
    rights.require_start((OPERATE_INVOICES if may_operate else IMPORT_PAYMENTS).dag_id)
    return rights


_MayImport = Annotated[Rights, Depends(_may_import)]


async def _file(request: Request, rights: _MayImport) -> UploadFile:
    """The chosen file. :raises HTTPException: as ``read_form``; 422 without a file."""
    chosen = (await read_form(request, rights, _LIMITS)).get("file")
    if not isinstance(chosen, UploadFile) or not chosen.size:
        raise http_error(status.HTTP_422_UNPROCESSABLE_CONTENT, "ファイルが選ばれていないか、空です")
    return chosen


@router.post("/uploads")
def upload(request: Request, rights: RightsDep, chosen: Annotated[UploadFile, Depends(_file)]) -> Response:
    """Store the file where its operation reads it, and record who uploaded it.

    A bank file goes to ``bank-files/incoming/``, and its import starts. A file with the columns of payments goes to ``payments/``; the
    dialog of its operation opens, because a user has to check a dry run first.

    :raises ArchivedFileError: its download has not ended, or it cannot be stored.
    """
    beginning = chosen.file.read(_BEGINNING_BYTES)
    is_ours = is_payment_file(beginning)
    spec, folder = (OPERATE_INVOICES, PAYMENTS) if is_ours else (IMPORT_PAYMENTS, bank_inbox.INCOMING)
    rights.require_start(spec.dag_id)
    chosen.file.seek(0)
    sha256 = hashlib.file_digest(chosen.file, "sha256").hexdigest()  # type: ignore[arg-type]
    try:
        name = bank_inbox.uploaded_name(PurePath(chosen.filename or "").name, sha256)
    except ParameterError as error:
        raise ArchivedFileError(str(error)) from None
    key = f"{folder}/{name}"
    extra = {"file": key, "sha256": sha256, "bytes": chosen.size}
    record_in_audit_log("skill_batch_upload", rights.user, json.dumps(extra, ensure_ascii=False))
    _put(chosen, key)
    if is_ours:
        return _dialog(request, rights, spec.dag_id, "import_payments", payment_file=name)
    api, action = AirflowApi(request), find_action(spec.dag_id, "import")
    assert action is not None, "the form has this operation"
    if api.is_paused(spec.dag_id):
        # The dialog offers to resume the DAG.
        return _dialog(request, rights, spec.dag_id, action.name, uploaded=name)
    run = api.start(spec.dag_id, action.conf({"uploaded": [name]}, datetime.now(UTC)))
    return follow_run(request, rights, spec.dag_id, run["dag_run_id"])


def _dialog(request: Request, rights: Rights, dag_id: str, operation: str, **values: str) -> Response:
    return render(request, rights, "uploaded.html", dag_id=dag_id, operation=operation, values=values)


def _put(chosen: UploadFile, key: str) -> None:
    """Store the file. :raises ArchivedFileError: the store cannot be written, or is not the store that the operations read."""
    chosen.file.seek(0)

    def write(store: ObjectStore) -> None:
        with store.writer(key) as file:
            copyfileobj(chosen.file, file)

    in_store(key, write, UPLOAD)
    if not in_store(key, lambda store: store.exists(key), READ):
        raise ArchivedFileError(
            f"アップロード先に置いた {key} が、読み取りの保存先にありません。Variable skill_batch_upload_url を "
            "skill_batch_storage_url と同じ場所にしてください。"
        )
