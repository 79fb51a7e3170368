"""Notes about the dump for the result of a backup's run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from include.skillreport.batches.data_backup.database_properties import tablespaces_sentence
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, Manifest
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.core.execution.batch import RunRemark

log = logging.getLogger(__name__)

_NAMED_TABLES = 5


def dump_remark(
    server: DatabaseServer, properties: Mapping[str, Any], unverified: Sequence[str]
) -> RunRemark:
    """The tables with unrecorded contents, databases of killed runs, what a restore moves to another tablespace, and the number of large
    objects that the login cannot read, because of which the dump contains none. ``properties``: see ``read_properties``.
    """
    details: dict[str, Any] = {"unverified": len(unverified)}
    problem = None
    if left := server.databases(server.run_prefix):
        log.warning("%s", left_sentence(left))
        details["left_databases"] = left
    if unreadable := server.unreadable_large_objects():
        log.warning("The dump has no large objects: the login cannot read %d of them", unreadable)
        details["large_objects_left_out"] = unreadable
    if moved := tablespaces_sentence(properties):
        log.warning("%s", moved)
        details["tablespaces"] = properties["tablespaces"]
    if unverified:
        more = " など" if len(unverified) > _NAMED_TABLES else ""
        problem = (
            "表の構造を変える処理（移行など）を待たせたため、照合を途中でやめました。"
            f"{len(unverified)} 表（{'、'.join(unverified[:_NAMED_TABLES])}{more}。一覧は {DUMP_MANIFEST} の unverified）は、"
            "復元できることだけを確かめ、中身を照合していません"
        )
    return RunRemark(details, problem, "TABLES_UNVERIFIED", in_each_run=True)


def left_sentence(databases: Sequence[str]) -> str:
    """A sentence for operators about incomplete databases of other runs, including active runs."""
    return (
        f"完成していないデータベースがあります: {'、'.join(databases)}。名前の終わりが実行IDです。"
        "その実行が終わっていれば、管理者が DROP DATABASE で消してください"
    )


def left_out_remark(manifest: Manifest) -> RunRemark:
    """The objects that only a superuser can restore, so the login did not. The backup contains them."""
    about = manifest.about.get("superuser_only", {})
    if about.get("objects"):
        log.warning("Not restored, because only a superuser can create them: %s", "、".join(about["names"]))
    return RunRemark({"not_restored": about.get("objects", 0), "objects": about.get("names", [])})
