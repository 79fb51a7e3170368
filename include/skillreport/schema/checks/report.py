"""All findings of ``python -m include.skillreport check`` about a database. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import psycopg

from include.skillreport.core.database import read_conninfo
from include.skillreport.core.errors import SettingsError, reason_of
from include.skillreport.core.execution.settings import IdentitySettings
from include.skillreport.core.settings import load_settings
from include.skillreport.schema.checks.findings import Finding, FindingSeverity, error, is_fit, remark
from include.skillreport.schema.checks.host import (
    count_tenants,
    find_hidden_rows,
    find_several_tenants,
    find_unknown_tenants,
    find_unlisted_tables,
)
from include.skillreport.schema.checks.indexes import find_lost_indexes, find_missing_indexes
from include.skillreport.schema.checks.people import find_people_problems
from include.skillreport.schema.checks.privileges import (
    BOARD,
    CLEANUP,
    ROLES,
    find_backup_problems,
    find_login_problems,
    find_missing_deployer_privileges,
    find_missing_owner_privileges,
)
from include.skillreport.schema.checks.server import find_dump_problems, find_server_problems
from include.skillreport.schema.checks.sessions import (
    connect,
    find_lost_sessions,
    find_read_only_login,
    find_session_limits,
)
from include.skillreport.schema.checks.superuser_objects import find_left_out
from include.skillreport.schema.deletion import is_with_deletion, tables_to_delete_from
from include.skillreport.schema.deployment_check import find_other_deployment, missing_part
from include.skillreport.schema.host_contract import HostVariant, compare_host

_LABELS = {FindingSeverity.ERROR: "不適合", FindingSeverity.REMARK: "注意"}


@dataclass(frozen=True)
class CheckReport:
    """The findings about a database. ``variant`` is None without a connection.

    ``with_deletion``: the batches may delete application rows.
    """

    variant: HostVariant | None
    findings: tuple[Finding, ...]
    with_deletion: bool = False

    @property
    def fits(self) -> bool:
        """True if the batches can be deployed to the database and run on it."""
        return is_fit(self.findings)

    def as_text(self) -> str:
        """One line per finding, then the verdict, in Japanese."""
        lines = [
            f"{_LABELS[finding.severity]}: {' '.join(finding.text.split())}" for finding in self.findings
        ]
        counts = {
            label: sum(finding.severity is severity for finding in self.findings)
            for severity, label in _LABELS.items()
        }
        verdict = "適合" if self.fits else "不適合"
        numbers = "、".join(f"{label} {count} 件" for label, count in counts.items())
        deletion = f"削除の権限{'あり' if self.with_deletion else 'なし'}"
        return "\n".join(
            [*lines, f"判定: {verdict}（ホストは {self.variant or '不明な'} 版、{deletion}、{numbers}）"]
        )

    def as_json(self) -> str:
        """The report as JSON."""
        findings = [{**asdict(finding), "text": finding.text} for finding in self.findings]
        return json.dumps(
            {
                "fits": self.fits,
                "variant": self.variant,
                "with_deletion": self.with_deletion,
                "findings": findings,
            },
            ensure_ascii=False,
            indent=2,
        )


def check_database(
    dsn: str,
    *,
    logins: Mapping[str, str] | None = None,
    backup: str = "",
    with_passwords: Collection[str] = (),
    bin_dir: str = "",
) -> CheckReport:
    """Check the database of ``dsn`` as the deploying login.

    ``logins`` has the connection string of each batch role's login, ``backup`` that of BATCH-001 and restores. ``with_passwords`` are the
    roles whose password the deployment sets. ``bin_dir``: see ``include.skillreport.core.postgres_programs``.
    """
    try:
        connection, findings = connect(dsn)
    except psycopg.Error as refusal:
        return CheckReport(None, (_no_connection("デプロイ用", refusal),))
    with connection:
        connection.read_only = True
        variant, differences = compare_host(connection)
        findings += find_server_problems(connection) + find_read_only_login(connection) + differences
        if not differences:
            findings += _find_tenant_problems(connection, variant)
        deletes = _is_with_deletion(connection)
        findings += find_hidden_rows(connection, tables_to_delete_from() if deletes else ())
        findings += find_missing_deployer_privileges(connection, variant, with_passwords, deletes=deletes)
        findings += _find_deployment_state(connection, variant, deletes=deletes)
        findings += find_unlisted_tables(connection) if deletes else []
        findings += _find_index_problems(connection, findings)
        findings += _find_people_problems(connection, findings)
        findings += find_dump_problems(connection, bin_dir)
        findings += find_session_limits(connection, ["", connection.info.user, *ROLES, CLEANUP])
        findings += _find_settings_problems()
    for role, login in (logins or {}).items():
        findings += _check_login(role, login)
    findings += _check_backup_login(backup) if backup else []
    ordered = sorted(findings, key=lambda finding: finding.severity is FindingSeverity.REMARK)
    return CheckReport(variant, tuple(ordered), deletes)


def _is_with_deletion(connection: psycopg.Connection) -> bool:
    # A deployer that is not a member of batch_owner is a separate finding.
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        return is_with_deletion(connection)
    return False


def _find_tenant_problems(connection: psycopg.Connection, variant: HostVariant) -> list[Finding]:
    findings: list[Finding] = []
    # A missing privilege of the deployer is a separate finding.
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        findings += find_several_tenants(count_tenants(connection), variant)
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        findings += find_unknown_tenants(connection)
    return findings


def _find_deployment_state(
    connection: psycopg.Connection, variant: HostVariant, *, deletes: bool
) -> list[Finding]:
    missing = missing_part(connection)
    if missing:
        return [missing]
    findings = find_missing_owner_privileges(connection, variant, deletes=deletes)
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        other = find_other_deployment(connection, variant)
        findings += [other] if other else []
    return findings


def _find_index_problems(connection: psycopg.Connection, findings: Sequence[Finding]) -> list[Finding]:
    """Only this code's schema has the table of known indexes."""
    found: list[Finding] = []
    if not {finding.code for finding in findings} & {"not-deployed", "outdated", "other-revision"}:
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            found += find_lost_indexes(connection)
    return found + find_missing_indexes(connection, {finding.subject for finding in found})


def _find_people_problems(connection: psycopg.Connection, findings: Sequence[Finding]) -> list[Finding]:
    """Reads the views, so they must match this code and host and be usable."""
    try:
        identity = IdentitySettings.load()
    except SettingsError as broken:
        return [error("settings", str(broken), "")]
    if is_fit(findings) and not {finding.code for finding in findings} & {
        "not-deployed",
        "detached",
        "outdated",
    }:
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            return find_people_problems(connection, identity)
    return [
        remark(
            "people-unchecked",
            "利用者と行がどのテナントのものかは、まだ調べていません。",
            "上の指摘を解消し、upgrade か attach のあとにもう一度 check を実行してください。",
        )
    ]


def _find_settings_problems() -> list[Finding]:
    # Unreadable settings are a separate finding.
    with suppress(SettingsError):
        sections = load_settings().sections.values()
        problems = [error("settings", problem, "") for section in sections for problem in section.problems()]
        return problems + [remark(*each) for section in sections if (each := section.warning())]
    return []


def _check_login(role: str, dsn: str) -> list[Finding]:
    try:
        read_conninfo(dsn)
        with psycopg.connect(dsn, autocommit=True) as first, psycopg.connect(dsn, autocommit=True) as second:
            findings = find_lost_sessions(first, second) + find_login_problems(first, role)
            # The operators' board only reads.
            return findings + (find_read_only_login(first) if role != BOARD else [])
    except psycopg.Error as refusal:
        return [_no_connection(f"{role} 用", refusal)]


def _check_backup_login(dsn: str) -> list[Finding]:
    try:
        read_conninfo(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            limits = find_session_limits(connection, [connection.info.user])
            return find_backup_problems(connection) + find_left_out(connection) + limits
    except psycopg.Error as refusal:
        return [_no_connection("バックアップ用", refusal)]


def _no_connection(purpose: str, refusal: psycopg.Error) -> Finding:
    return error(
        "no-connection",
        f"{purpose}の接続文字列で PostgreSQL に接続できません: {reason_of(refusal)}。",
        "サーバーが動いていることと、接続文字列（libpq の形式。Prisma の ?schema= や pgbouncer= は除く）を確認してください。",
    )
