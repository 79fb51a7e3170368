"""Check the tenants of the host's rows. Source of the rule: ``host_views/people.sql``.

All functions read the deployed views, so the login must be a member of ``batch_owner``.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements, plan_for_scans
from include.skillreport.core.execution.settings import IdentitySettings
from include.skillreport.schema.checks.findings import Finding, remark

_SQL = Statements(Path(__file__).parent)

_UNPLACED = {
    "unknown_person": ("unknown-people", "該当者がないか 1 人に決まらず"),
    "no_employee": ("rows-without-employee", "アカウントに従業員がなく"),
}

_WITHOUT_ROWS = {
    "SYS_SystemLog": "API 呼び出し、エラー、応答時間、同時利用者数は 0 ではなく、値なしになります。",
    "HIS_AuditLog": "監査された操作は活動に数えられません。",
    "HIS_AuditLog LOGIN": "ログイン失敗は 0 ではなく、値なしになります。",
    "HIS_ReportGeneration": "レポートの生成数は 0 ではなく、値なしになります。",
    "HIS_ReportGeneration file_size": "TRN_SkillEvidence にも行がなければ、保存容量は 0 ではなく、値なしになります。",
    "TRN_SkillEvidence": "HIS_ReportGeneration に大きさもなければ、保存容量は 0 ではなく、値なしになります。",
    "TRN_SkillRecord assessment_date": "スキル評価の件数は 0 ではなく、値なしになります。",
    "HIS_NotificationLog": "送信した通知の件数は 0 ではなく、値なしになります。",
}


def find_people_problems(connection: psycopg.Connection, settings: IdentitySettings) -> list[Finding]:
    """Accounts, codes and rows without a tenant, the settings' keys in use, and sources without rows."""
    plan_for_scans(connection)
    return [
        *_find_accounts(connection),
        *_find_shared_codes(connection),
        *_find_rows(connection, settings),
        *_find_empty_sources(connection),
    ]


def _find_accounts(connection: psycopg.Connection) -> list[Finding]:
    return [
        remark(
            "accounts-without-employee",
            f"{accounts} 件のアカウント（{_examples(user_ids, accounts)}）は、従業員が見つからないためどのテナントにも数えません。",
            "MST_UserAuth.employee_id を確認してください。",
            "MST_UserAuth",
        )
        for accounts, user_ids in _SQL.execute(connection, "accounts_without_employee")
    ]


def _find_shared_codes(connection: psycopg.Connection) -> list[Finding]:
    return [
        remark(
            "shared-codes",
            f"{codes} 個の従業員コード（{_examples(examples, codes)}）を、合わせて {employees} 人の従業員が持っています。"
            "このコードだけの行は誰のものか決まりません。",
            "MST_Employee.employee_code を一意にするか、行に MST_Employee.id を書いてください。",
            "MST_Employee",
        )
        for codes, employees, examples in _SQL.execute(connection, "shared_codes")
    ]


def _find_rows(connection: psycopg.Connection, settings: IdentitySettings) -> list[Finding]:
    kinds = settings.known_keys()
    findings = []
    for source, placement, key, rows, keys in _SQL.execute(
        connection, "row_placements", person_keys=list(kinds), kinds=list(kinds.values())
    ):
        if placement == "placeholder":
            problem = (
                f"{source} の {rows} 行は仮のキー '{key}' を持つため、どのテナントにも割り当てられません。"
            )
            remedy = "アプリケーションの画面が利用者のキーを書くようにしてください。"
            findings.append(remark("placeholder", problem, remedy, source))
        elif placement == "watched":
            problem = f"{source} の {rows} 行は '{key}' を持ちます。実在の従業員のコードですが、誰に対しても書く画面があります。"
            remedy = "その従業員の活動として数えてよいか確認してください。"
            findings.append(remark("watched-key", problem, remedy, source))
        else:
            code, reason = _UNPLACED[placement]
            problem = f"{source} の {rows} 行（キー {_examples(keys)}）は、{reason}、どのテナントにも割り当てられません。"
            remedy = "キーを書いた画面と、従業員・アカウントの対応を確認してください。"
            findings.append(remark(code, problem, remedy, source))
    return findings


def _find_empty_sources(connection: psycopg.Connection) -> list[Finding]:
    return [
        remark(
            "no-source",
            f"{source} に行が 1 件もありません。{_WITHOUT_ROWS[source]}",
            "アプリケーションがこれを書いているか確認してください。",
            source,
        )
        for source in _SQL.column(connection, "empty_sources")
    ]


def _examples(names: list[str], total: int = 0) -> str:
    return "、".join(f"'{name}'" for name in names) + (" など" if total > len(names) else "")
