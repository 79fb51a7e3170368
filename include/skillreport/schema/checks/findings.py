"""The findings of a check of the host, the server or the deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from include.skillreport.core.errors import SchemaError


class FindingSeverity(StrEnum):
    """An error prevents runs or the deployment; a remark does not."""

    ERROR = "error"
    REMARK = "remark"


@dataclass(frozen=True)
class Finding:
    """A finding for an operator, in Japanese: problem and remedy.

    ``code`` is stable, for programs. ``subject`` is the table, column, role or host.
    """

    severity: FindingSeverity
    code: str
    problem: str
    remedy: str
    subject: str = ""

    @property
    def text(self) -> str:
        """Problem and remedy."""
        return self.problem + self.remedy


def error(code: str, problem: str, remedy: str, subject: str = "") -> Finding:
    """Create a finding that prevents runs or the deployment."""
    return Finding(FindingSeverity.ERROR, code, problem, remedy, subject)


def remark(code: str, problem: str, remedy: str, subject: str = "") -> Finding:
    """Create a finding that does not prevent runs or the deployment."""
    return Finding(FindingSeverity.REMARK, code, problem, remedy, subject)


def is_fit(findings: Iterable[Finding]) -> bool:
    """True if no finding is an error."""
    return all(finding.severity is not FindingSeverity.ERROR for finding in findings)


def refuse(findings: Iterable[Finding]) -> None:
    """Raise all errors among the findings. :raises SchemaError: contains all problems, and each remedy once."""
    errors = [finding for finding in findings if finding.severity is FindingSeverity.ERROR]
    if errors:
        remedies = dict.fromkeys(finding.remedy for finding in errors)
        raise SchemaError("".join([*(finding.problem for finding in errors), *remedies]))


# The meaning of each code. The documentation lists them; a test compares them with the code.
ERRORS: Mapping[str, str] = {
    "table-missing": "アプリケーションに、バッチが使う表がない",
    "column-missing": "アプリケーションの表に、バッチが使う列がない",
    "column-type": "アプリケーションの列の型が違う（文字列の長さと数値の桁数は問わない）",
    "variant-half-applied": "マルチテナント移行の列が、一部だけある",
    "several-tenants": "テナントを示す列がないのに、テナントが複数ある",
    "row-security": "行レベルセキュリティが、バッチのビューから行を隠している",
    "deployer-table": "デプロイするログインが、表の権限を与えられない",
    "deployer-create": "デプロイするログインに、データベースの CREATE 権限がない",
    "deployer-public": "デプロイするログインか batch_owner に、スキーマ public の USAGE 権限がない",
    "deployer-createrole": "デプロイするログインに、CREATEROLE がない",
    "deployer-membership": "デプロイするログインが、別のログインが作ったロールを使えない",
    "owner-table": "batch_owner に、アプリケーションの表の権限がない（表が作り直された場合など）",
    "login-not-member": "ログインが、バッチのロールになれない",
    "login-read-only": "ログインのトランザクションが、読み取り専用になっている",
    "backup-rows": "バックアップのログインに、見えない行がある（BATCH-001 と復元は始まらない）",
    "backup-createdb": "バックアップのログインが、データベースを作れない（BATCH-001 と復元は始まらない）",
    "no-connection": "接続文字列で PostgreSQL に接続できない",
    "pooler": "接続プーラーのため使えない（バッチのログインはトランザクションモード、デプロイの接続はすべてのモード）",
    "settings": "設定ファイルに誤りがある",
    "server-version": "サーバーが PostgreSQL 15 より古い",
    "server-encoding": "データベースの文字コードが UTF8 でない",
    "other-revision": "別のコードが作ったスキーマで、upgrade では移せない",
}
REMARKS: Mapping[str, str] = {
    "unknown-tenant": "MST_Tenant にないテナントの行がある",
    "accounts-without-employee": "どのテナントにも属さないアカウントがある",
    "shared-codes": "複数の従業員が、同じ従業員コードを持っている",
    "unknown-people": "該当者が 1 人に決まらない行がある（列ごと）",
    "rows-without-employee": "アカウントに従業員がない行がある（列ごと）",
    "placeholder": "仮のキーを持つ行がある（列ごと）",
    "watched-key": "従業員のコードと同じキーを、画面が誰に対しても書いている（列ごと）",
    "no-source": "行が 1 件もない表がある（その値は 0 ではなく、値なしになる）",
    "people-unchecked": "利用者の検査を、まだ行っていない",
    "deletion-unlisted": "削除の権限があり、deletion.yaml が決めていない表がある（テナントを削除できない）",
    "role-missing": "バッチのロールが、まだない",
    "restore-rights": "バックアップのログインには、できない復元がある",
    "restore-owners": "新しいデータベースへの復元は、所有者と権限を戻さない",
    "backup-left-out": "検証用の復元に入らないものがある",
    "backup-large-objects": "読めないラージオブジェクトがあり、バックアップに入らない",
    "backup-mac": "接続 skill_batch_backup_mac がない（AIRFLOW_HOME があるときだけ検査）",
    "pg-dump-missing": "このマシンに pg_dump がない（BATCH-001 は始まらない）",
    "pg-dump-old": "このマシンの pg_dump が、サーバーより古い（BATCH-001 は始まらない）",
    "pg-dump-version": "このマシンに、サーバーに合う版の pg_dump がない（BATCH-001 は始まらない）",
    "session-limit": "ログインかデータベースに、接続の制限時間がある（バッチには効かない）",
    "pooler-port": "デプロイの接続のポートが、接続プーラーによく使われるもの",
    "no-second-person": "入力した人以外の承認が不要な設定になっている",
    "service-unnamed": "設定にサービスの名前がなく、メールに署名が付かない",
    "alert-key": "接続 skill_batch_alert_http のパスワードでは署名できない（AIRFLOW_HOME があるときだけ検査）",
    "approval-paused": "承認の DAG が一時停止中（AIRFLOW_HOME があるときだけ検査）",
    "approvals-unchecked": "承認の DAG の状態を、Airflow が答えない",
    "not-deployed": "スキーマ batch がない（upgrade が必要）",
    "outdated": "スキーマ batch が、このコードより古い（upgrade が必要）",
    "detached": "スキーマ batch のビューがない（attach が必要）",
    "host-index-missing": "100 万行を超える表に、索引がない",
    "host-index-lost": "以前あった索引がない（prisma db push が削除した場合など）",
    "host-index-unusable": "中断した作成が、使えない索引を残している",
}
