"""The certificate of a deletion: PDFs in Japanese and English, in the store beside the register of deleted tenants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg

from include.skillreport.batches.data_backup.deleted_tenants import record_folder
from include.skillreport.batches.data_backup.files import FOLDER, is_complete
from include.skillreport.batches.data_backup.tenant_export import manifest_path
from include.skillreport.billing.settings import IssuerSettings
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.typesetting import compile_pdf
from include.skillreport.operations.offboard_tenant.ledger import TableCount, tables_of

_SQL = Statements(Path(__file__).parent)

_TEMPLATE = Path(__file__).with_name("certificate.typ")


def backups_with(
    platform: psycopg.Connection, store: ObjectStore, tenant_id: str, deleted_at: datetime
) -> list[str]:
    """The complete backups from before the deletion that contain the tenant, and a running one; oldest first.

    Later ones contain only kept rows of the tenant. Backups that a restored database does not know count.
    """
    known = {row["backup_id"]: row for row in _SQL.rows(platform, "backups")}
    return [
        backup_id
        for backup_id in sorted({*store.names(FOLDER), *known})
        if (backup_id not in known or known[backup_id]["snapshot_at"] < deleted_at)
        and (
            (backup_id in known and known[backup_id]["status"] == "running")
            or (
                is_complete(store, backup_id)
                and store.exists(f"{FOLDER}/{backup_id}/{manifest_path(tenant_id)}")
            )
        )
    ]


def write_certificates(
    platform: psycopg.Connection,
    store: ObjectStore,
    offboarding_id: str,
    issuer: IssuerSettings,
    *,
    deleted_at: datetime,
    remains: Sequence[str],
    supplement: bool = False,
) -> list[str]:
    """Write both certificates of a deletion from the stored record. Returns their backups.

    ``issuer``: the invoices' issuer certifies, unless it is a sample.
    """
    (record,) = _SQL.rows(platform, "record_of", offboarding_id=offboarding_id)
    backups = backups_with(platform, store, record["tenant_id"], deleted_at)
    tables = tables_of(platform, offboarding_id)
    name = "supplement" if supplement else "certificate"
    for language in ("ja", "en"):
        content = certificate_pdf(
            language,
            {**record, "deleted_at": deleted_at},
            tables,
            backups,
            remains,
            issuer=_issuer_lines(issuer, language),
            supplement=supplement,
        )
        store.write(f"{record_folder(record['tenant_id'], offboarding_id)}/{name}-{language}.pdf", content)
    return backups


def certificate_pdf(
    language: Literal["ja", "en"],
    record: Mapping[str, Any],
    tables: Sequence[TableCount],
    backups: Sequence[str],
    remains: Sequence[str],
    *,
    issuer: Sequence[str] = (),
    supplement: bool = False,
) -> bytes:
    """The PDF, with times in Asia/Tokyo. ``record`` is the row of ``batch.offboarding``, ``issuer`` the issuer's lines."""
    data = {
        "language": language,
        "issuer": list(issuer),
        "supplement": supplement,
        "facts": {
            "number": record["offboarding_id"],
            "tenant": f"{record['tenant_name']}（{record['tenant_code']}）"
            if language == "ja"
            else f"{record['tenant_name']} ({record['tenant_code']})",
            **{name: _said(record[f"{name}_at"], record[f"{name}_by"]) for name in _STEPS},
            "deleted": _said(record["deleted_at"], ""),
            "manifest": record["manifest_sha256"],
        },
        "tables": [
            {
                "name": each.table_name,
                "reason": each.reason if language == "ja" else None,
                "exported": f"{each.exported:,}",
                "rule": each.rule,
                "done": f"{each.done:,}",
                # Blanked rows stay, too. The application deleted some of the others, and the last check found none.
                "left": f"{0 if each.rule == 'delete' else each.exported:,}",
            }
            for each in tables
        ],
        "unowned": f"{record['unowned'] or 0:,}",
        "backups": list(backups),
        "remains": list(remains),
    }
    return compile_pdf(
        _TEMPLATE,
        "certificate",
        json.dumps(data, ensure_ascii=False),
        dated=record["deleted_at"].astimezone(JAPAN).date(),
    )


def _issuer_lines(issuer: IssuerSettings, language: Literal["ja", "en"]) -> list[str]:
    if issuer.sample:
        return []
    if language == "en" and issuer.english:
        return [issuer.english.name, issuer.english.address, issuer.english.phone]
    return [issuer.name, f"〒{issuer.postal_code} {issuer.address}", issuer.phone]


_STEPS = ("begun", "exported", "asked", "approved")


def _said(at: datetime, person: str) -> str:
    return f"{at.astimezone(JAPAN):%Y-%m-%d %H:%M} (JST){'  ' if person else ''}{person}"
