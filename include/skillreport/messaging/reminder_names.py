"""The names of reminders and of their variables: the batches' own, and those of the application and of its design, which are aliases.

A reminder has no ``goal_detail_url``, and a certificate no ``progress_rate``: they are empty texts.
"""

from __future__ import annotations

from collections.abc import Mapping

CERTIFICATE_EXPIRY = "certificate_expiry"
GOAL_DUE = "goal_due"

# The template keys and setting keys of each reminder. The last one of a tenant's templates counts.
KEYS = {
    CERTIFICATE_EXPIRY: ("skillExpiry", "skill_expiry", CERTIFICATE_EXPIRY),
    GOAL_DUE: ("goalReminder", "goal_reminder", "goal_deadline_reminder", GOAL_DUE),
}

# The trigger events of the application's notification settings.
TRIGGERS = {"goal_deadline_approaching": GOAL_DUE}

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


def sample_of(template_key: str, given: Mapping[str, object]) -> dict[str, object]:
    """The variables to check a template with. ``given`` is its sample data. A reminder has only the variables that are sent."""
    for reminder, keys in KEYS.items():
        if template_key in keys:
            return {**_SERVICE, **with_all_names(_SAMPLES[reminder])}
    return {**_SERVICE, **(_SKILL_UPDATE if template_key == "skill_update_notification" else {}), **given}
