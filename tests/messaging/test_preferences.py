"""The settings of one tenant: defaults, its language, its overrides, its quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.skillreport.messaging.preferences import preferences_of, quiet_until
from include.skillreport.messaging.settings import NotificationSettings

DEFAULTS = NotificationSettings.load()


def test_a_tenants_own_settings_stand_before_the_installations() -> None:
    own = preferences_of(
        DEFAULTS,
        "en",
        {"quiet_hours": "22:00-07:00", "certificate_days": "60, 14", "auto_disable": "true"},
    )

    assert own.problem is None
    assert own.settings.language == "en"
    assert own.settings.certificate_days == (60, 14)
    assert own.settings.auto_disable is True
    assert own.settings.goal_days == DEFAULTS.goal_days


@pytest.mark.parametrize(("language", "expected"), [("en", "en"), ("ja", "ja"), ("fr", "ja"), (None, "ja")])
def test_a_language_without_texts_is_that_of_the_installation(language: str | None, expected: str) -> None:
    assert preferences_of(DEFAULTS, language, {}).settings.language == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quiet_hours", "25:00-07:00"),
        ("quiet_hours", "22-7"),
        ("certificate_days", "30, soon"),
        ("certificate_days", ""),
        ("certificate_days", "0"),
        ("certificate_days", "9999"),
        ("retention_days", "-1"),
        ("no_such_setting", "1"),
        ("expire_hours", "999999"),
        ("give_up_hours", "99999999999"),
        ("auto_disable", "1"),
    ],
)
def test_a_setting_that_does_not_hold_is_named_and_its_default_holds(key: str, value: str) -> None:
    own = preferences_of(DEFAULTS, None, {key: value, "archive_days": "365"})

    assert own.settings == DEFAULTS.model_copy(update={"archive_days": 365})
    assert own.problem is not None
    assert f"batch.notification.{key}" in own.problem
    assert own.refused == {key: value}


@pytest.mark.parametrize(
    ("quiet_hours", "japan", "quiet"),
    [
        ("", "03:00", False),
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "00:00", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("12:00-13:00", "12:59", True),
        ("12:00-13:00", "13:00", False),
        ("12:00-12:00", "12:00", False),
    ],
)
def test_quiet_hours_are_those_of_japan(quiet_hours: str, japan: str, quiet: bool) -> None:
    moment = datetime.fromisoformat(f"2026-11-01T{japan}+09:00").astimezone(UTC)

    assert (quiet_until(quiet_hours, moment) is not None) is quiet
