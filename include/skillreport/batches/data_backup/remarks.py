"""What the result of a backup's run says about its dump."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, Manifest
from include.skillreport.core.execution.batch import RunRemark

log = logging.getLogger(__name__)

_NAMED_TABLES = 5


def dump_remark(unverified: Sequence[str], unreadable: int) -> RunRemark:
    """Names the tables whose contents nobody has recorded, and the large objects that the login cannot read and the dump does not have."""
    details, problem = {"unverified": len(unverified)}, None
    if unreadable:
        log.warning("The dump has no large objects: the login cannot read %d of them", unreadable)
        details["large_objects_left_out"] = unreadable
    if unverified:
        more = " など" if len(unverified) > _NAMED_TABLES else ""
        problem = (
            "表の構造を変える処理（移行など）を待たせたため、照合を途中でやめました。"
            f"{len(unverified)} 表（{'、'.join(unverified[:_NAMED_TABLES])}{more}。一覧は {DUMP_MANIFEST} の unverified）は、"
            "復元できることだけを確かめ、中身を照合していません"
        )
    return RunRemark(details, problem, "TABLES_UNVERIFIED", in_each_run=True)


def left_out_remark(manifest: Manifest) -> RunRemark:
    """Names the objects that a login that is no superuser did not restore. The backup has them."""
    about = manifest.about.get("superuser_only", {})
    if about.get("objects"):
        log.warning("Not restored, because only a superuser can create them: %s", "、".join(about["names"]))
    return RunRemark({"not_restored": about.get("objects", 0), "objects": about.get("names", [])})
