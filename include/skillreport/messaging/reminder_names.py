"""The names of reminders and their variables. The names in the application and its design are aliases of the batches' own names.

``goal_detail_url`` is always empty, and ``progress_rate`` is empty in certificate reminders. The daily check renders templates with the
samples. They contain the variables that the batches send with each kind of reminder and notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from include.skillreport.messaging.contract_letters import (
    CHANNELS_GONE,
    INACTIVITY_CRITICAL,
    INACTIVITY_WARNING,
    MONTHLY_REPORT,
    SETTINGS_BROKEN,
    USAGE_WARNING,
)

CERTIFICATE_EXPIRY = "certificate_expiry"
GOAL_DUE = "goal_due"

# The template keys and setting keys of each reminder. Of a tenant's templates, the one with the last key counts.
KEYS = {
    CERTIFICATE_EXPIRY: ("skillExpiry", "skill_expiry", CERTIFICATE_EXPIRY),
    GOAL_DUE: ("goalReminder", "goal_reminder", "goal_deadline_reminder", GOAL_DUE),
}

_KINDS = {name: kind for kind, names in KEYS.items() for name in names}

# The trigger events of the application's notification settings.
TRIGGERS = {"goal_deadline_approaching": GOAL_DUE}

# The names of the kinds in e-mails, in Japanese and English.
_TITLES = {
    CERTIFICATE_EXPIRY: ("資格の期限の通知", "certificate reminder"),
    GOAL_DUE: ("目標の期限の通知", "goal reminder"),
    USAGE_WARNING: ("利用量の通知", "usage warning"),
    INACTIVITY_WARNING: ("利用がないときの通知（警告）", "inactivity warning"),
    INACTIVITY_CRITICAL: ("利用がないときの通知（重大）", "second inactivity warning"),
    MONTHLY_REPORT: ("月次レポート", "monthly report"),
    CHANNELS_GONE: ("通知先のチャンネルがなくなったときの通知", "notice about channels that are gone"),
    SETTINGS_BROKEN: ("通知の設定の問題", "notice about settings"),
    "skill_update_notification": ("スキルの更新の通知", "skill update"),
}

_OURS = {
    "employee_name": "full_name",
    "userName": "full_name",
    "deadline_date": "due_on",
    "remaining_days": "days_left",
    "daysLeft": "days_left",
    "certificationName": "certificate_name",
    "expiryDate": "expires_on",
}
_EMPTY = {"progress_rate": "", "goal_detail_url": ""}

_SERVICE = {
    "service_name": "スキル報告サービス",
    "service_company": "サンプル株式会社",
    "service_contact": "support@example.co.jp",
    "service_url": "https://skill.example.co.jp/",
}

_INACTIVITY: dict[str, object] = {
    "tenant_name": "株式会社サンプル",
    "days": 60,
    "as_of": "2026年11月30日",
    "last_activity": "2026年10月1日",
}

_SAMPLES: dict[str, dict[str, object]] = {
    CERTIFICATE_EXPIRY: {
        "full_name": "山田 花子",
        "certificate_name": "基本情報技術者",
        "expires_on": "2026年12月1日",
        "days_left": 30,
        "due_in": "30 日後",
    },
    GOAL_DUE: {
        "full_name": "山田 花子",
        "goal_title": "英語",
        "due_on": "2026年12月1日",
        "days_left": 7,
        "due_in": "7 日後",
        "progress_rate": "60",
    },
    USAGE_WARNING: {
        "metric": "ストレージ使用量",
        "month": "2026年11月",
        "threshold": "80",
        "percent": "85.0",
        "observed": "85.0 GB",
        "allowance": "100.0 GB",
    },
    INACTIVITY_WARNING: _INACTIVITY,
    INACTIVITY_CRITICAL: _INACTIVITY,
    MONTHLY_REPORT: {
        "tenant_name": "株式会社サンプル",
        "month": "2026年10月",
        "files": "Excel、PDF",
        "summary": "登録ユーザー数: 42（増減 +2）",
        "notices": "1 日分のデータがありません。",
        "has_previous": True,
        "report_link": "https://skill.example.co.jp/reports/2026-10",
    },
    CHANNELS_GONE: {
        "service": "Slack",
        "count": 2,
        "findings": "・通知設定「目標の期限の通知」\n・通知設定「資格の期限の通知」",
    },
    SETTINGS_BROKEN: {
        "count": 2,
        "findings": "・Slack: トークンが正しくありません。\n・通知設定「目標の期限の通知」",
    },
}

# A message that only the application sends.
_SKILL_UPDATE = {
    "employee_name": "山田 花子",
    "skill_name": "Java",
    "updated_at": "2026/12/01 09:00",
    "updated_by": "山田 太郎",
    "skill_detail_url": "https://skill.example.co.jp/skills",
}


def with_all_names(variables: Mapping[str, object]) -> dict[str, object]:
    """A reminder's variables under all their names."""
    others = {name: variables[ours] for name, ours in _OURS.items() if ours in variables}
    return {**_EMPTY, **others, **variables}


def titles_of(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """The titles of these keys or trigger events in e-mails, by key and language (``ja``, ``en``). An unknown key is its own title.

    If several have the same title, their keys follow it.
    """
    kinds = _KINDS | TRIGGERS
    titles = {key: _TITLES.get(kinds.get(key, key), (key, key)) for key in keys}
    every = [japanese for japanese, _ in titles.values()]
    return {
        key: {
            language: title if every.count(named[0]) == 1 else f"{title}: {key}"
            for language, title in zip(("ja", "en"), named, strict=True)
        }
        for key, named in titles.items()
    }


def sample_of(template_key: str, given: Mapping[str, object]) -> dict[str, object]:
    """The variables to check a template with.

    For a reminder or notice, these are the variables that are sent; for other keys ``given``, the template's sample data.
    """
    sample = _SAMPLES.get(_KINDS.get(template_key, template_key))
    if sample is None:
        return {**_SERVICE, **(_SKILL_UPDATE if template_key == "skill_update_notification" else {}), **given}
    return {**_SERVICE, **(with_all_names(sample) if template_key in _KINDS else sample)}
