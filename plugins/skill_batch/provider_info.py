"""The wheel's Airflow provider: the project's connection types with their form fields, its hooks, plugin and asset URIs.

Generic types (Postgres, SMTP, IMAP, Slack, HTTP) work as well, because the hooks look connections up by id, but their forms lack
fields. Airflow reads this when the UI requests a form, so it imports nothing but the presets.
"""

from __future__ import annotations

from typing import Any

from skill_batch.http_presets import PRESETS

_YES_NO = ("boolean", "null")
_TEXT = ("string", "null")
_NUMBER = ("integer", "null")

_INTEGRATION = "Skill report"
_HOOKS = ("billing", "notification", "services", "tenant_db")


def get_provider_info() -> dict[str, Any]:
    """The provider's data in Airflow's format (``airflow/provider_info.schema.json``, with ``conn-fields`` and ``ui-field-behaviour``)."""
    return {
        "package-name": "skill-report-batches",
        "name": "Skill report batches",
        "description": "The batches of the skill report service: database, mail, and the operators' channels.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "/skill-batch-board/help/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"skill_batch.hooks.{name}" for name in _HOOKS],
            }
        ],
        "plugins": [{"name": "skill_batch", "plugin-class": "skill_batch.plugin.SkillBatchPlugin"}],
        "asset-uris": [
            {
                "schemes": ["x-skill-report"],
                "handler": None,
                "to_openlineage_converter": "skill_batch.assets.convert_asset_to_openlineage",
            }
        ],
        "connection-types": [
            _database("tenant", "TenantDbHook", "スキルレポート DB（テナント処理）", "batch_tenant"),
            _database("platform", "PlatformDbHook", "スキルレポート DB（全体処理）", "batch_platform"),
            _database("cleanup", "CleanupDbHook", "スキルレポート DB（削除）", "batch_cleanup"),
            _mail(),
            _mailbox(),
            _alert_slack(),
            _alert_http(),
        ],
    }


def _database(name: str, hook: str, label: str, role: str) -> dict[str, Any]:
    return _type(
        f"skill_batch_{name}_db",
        f"skill_batch.hooks.tenant_db.{hook}",
        label,
        fields={
            "sslmode": _field(
                "TLS",
                _TEXT,
                "libpq の sslmode。本番では verify-full",
                enum=[None, "require", "verify-ca", "verify-full"],
            ),
            "sslrootcert": _field("CA 証明書のファイル", _TEXT, "sslmode が verify-ca か verify-full のとき"),
            "connect_timeout": _field("接続のタイムアウト（秒）", _NUMBER, default=10),
        },
        relabeled={
            "schema": "データベース名",
            "login": f"ログイン（{role} か、そのメンバー）",
            "port": "ポート（プーラーならセッションモードのもの）",
        },
        placeholders={"port": "5432", "schema": "skill_report"},
        hidden=["extra"],
    )


def _mail() -> dict[str, Any]:
    return _type(
        "skill_batch_mail",
        "skill_batch.hooks.services.MailServerHook",
        "メールサーバー（通知・運用アラート）",
        fields={
            "from_email": _field("差出人", _TEXT, "表示名を付けられます。空欄ならログイン"),
            "to_email": _field("運用アラートの宛先", _TEXT, "skill_batch_alert_email だけ。コンマ区切り"),
            "people": _field(
                "実行した人の宛先",
                ("object", "null"),
                "skill_batch_alert_email だけ。Airflow のユーザー名とメールアドレス",
            ),
            "people_domains": _field(
                "ユーザー名を宛先とするドメイン", _TEXT, "skill_batch_alert_email だけ。コンマ区切り"
            ),
            "reply_to": _field("返信先", _TEXT),
            "envelope_sender": _field("エラーメールの宛先", _TEXT, "{token} でメールごとに別の宛先（VERP）"),
            "unsubscribe_address": _field("配信停止の宛先", _TEXT, "{token} が必要"),
            "unsubscribe_url": _field(
                "配信停止の URL", _TEXT, "https。{token} が必要（ワンクリックの配信停止）"
            ),
            "disable_ssl": _field(
                "接続時の TLS を使わない", _YES_NO, "STARTTLS（587 番）のサーバー", default=False
            ),
            "disable_tls": _field("STARTTLS も使わない", _YES_NO, "暗号化なし", default=False),
            "connections": _field("同時接続数の上限", _NUMBER, minimum=1),
            "messages_per_minute": _field("1 分あたりの通数の上限", _NUMBER, minimum=1),
            **_login_by_token(),
        },
        relabeled={"host": "サーバー"},
        placeholders={"port": "465", "from_email": "スキルレポート <no-reply@example.jp>"},
        hidden=["schema", "extra"],
    )


def _mailbox() -> dict[str, Any]:
    return _type(
        "skill_batch_mailbox",
        "skill_batch.hooks.services.MailboxHook",
        "メールボックス（エラーメール・配信停止）",
        fields={
            "security": _field("暗号化", _TEXT, default="tls", enum=["tls", "starttls", "none"]),
            "folder": _field("読むフォルダー", _TEXT, default="INBOX"),
            "move_to": _field("処理後に移すフォルダー", _TEXT, "空欄なら移しません"),
            **_login_by_token(),
        },
        relabeled={"host": "サーバー"},
        placeholders={"port": "993"},
        hidden=["schema", "extra"],
    )


def _alert_slack() -> dict[str, Any]:
    return _type(
        "skill_batch_alert_slack",
        "skill_batch.hooks.services.AlertSlackHook",
        "運用アラート（Slack）",
        fields={
            "channel": _field("チャンネル", _TEXT, default="#batch-alerts"),
            "base_url": _field("API の URL", _TEXT, "空欄なら https://slack.com/api"),
            "proxy": _field("プロキシ", _TEXT),
        },
        relabeled={"password": "ボットトークン（xoxb-…）"},
        placeholders={"password": "xoxb-"},
        hidden=["host", "schema", "login", "port", "extra"],
    )


def _alert_http() -> dict[str, Any]:
    return _type(
        "skill_batch_alert_http",
        "skill_batch.hooks.services.AlertHttpHook",
        "運用アラート（HTTP、PagerDuty、Teams）",
        fields={
            "preset": _field("送り先", _TEXT, default="json", enum=list(PRESETS)),
            "endpoint": _field("パス", _TEXT, "json だけ。例 /alerts"),
            "min_severity": _field(
                "最低の重要度", _TEXT, default="MEDIUM", enum=["MEDIUM", "HIGH", "CRITICAL"]
            ),
            "results": _field("実行結果も送る", _YES_NO, "pagerduty では使いません", default=False),
            "source": _field("PagerDuty の source", _TEXT),
        },
        relabeled={
            "password": "、".join(preset.password for preset in PRESETS.values()),
            "schema": "https または http",
        },
        placeholders={"schema": "https"},
        # The other fields are those of Airflow's HTTP connection: proxies, verify, cert, headers.
        hidden=["login"],
    )


def _login_by_token() -> dict[str, Any]:
    return {
        "auth_type": _field("ログインの方法", _TEXT, default="basic", enum=["basic", "oauth2"]),
        "client_id": _field("client_id", _TEXT, "oauth2 だけ"),
        "client_secret": _field("client_secret", _TEXT, "oauth2 だけ", format="password"),
        "tenant_id": _field("Microsoft のディレクトリ ID", _TEXT, "oauth2 だけ。または token_url"),
        "token_url": _field("token_url", _TEXT, "oauth2 だけ"),
        "scope": _field("scope", _TEXT, "oauth2 だけ"),
        "access_token": _field("固定のトークン", _TEXT, "oauth2 だけ", format="password"),
    }


def _field(label: str, kind: tuple[str, ...], description: str = "", **schema: Any) -> dict[str, Any]:
    field: dict[str, Any] = {"label": label, "schema": {"type": list(kind), **schema}}
    return field | ({"description": description} if description else {})


def _type(
    name: str,
    hook: str,
    label: str,
    *,
    fields: dict[str, Any],
    relabeled: dict[str, str],
    placeholders: dict[str, str],
    hidden: list[str],
) -> dict[str, Any]:
    return {
        "connection-type": name,
        "hook-class-name": hook,
        "hook-name": label,
        "conn-fields": fields,
        "ui-field-behaviour": {
            "hidden-fields": hidden,
            "relabeling": relabeled,
            "placeholders": placeholders,
        },
    }
