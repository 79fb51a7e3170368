"""The built-in templates: a text for every count, and no word about whom to ask where nobody is named."""

from __future__ import annotations

import re

import pytest

from include.skillreport.batches.notification_settings_check.rules import TenantSettings, findings_in
from include.skillreport.messaging.channels.channel import Rendered
from include.skillreport.messaging.contract_letters import CHANNELS_GONE, SETTINGS_BROKEN
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE, sample_of
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import render

KEYS = (
    CERTIFICATE_EXPIRY,
    GOAL_DUE,
    "usage_warning",
    SETTINGS_BROKEN,
    "inactivity_warning",
    "inactivity_critical",
    CHANNELS_GONE,
    "monthly_report",
)
SAMPLE = ServiceSettings(sample=True, name="", company="", contact="", url="")
ENTERED = ServiceSettings(
    sample=False, name="スキル報告", company="サンプル株式会社", contact="support@example.jp", url=""
)

_ASKS = re.compile("お問い合わせ先|までお知らせください|contact us|tell us", re.IGNORECASE)


def written(
    key: str, language: str, service: ServiceSettings, count: int = 2, *, has_previous: bool = True
) -> Rendered:
    """The template with some text for each of its variables."""
    template = default_template(key, language)
    names = re.findall(r"{{ ?(\w+)", template.subject + template.body)
    variables = {**dict.fromkeys(names, "x"), "notices": "", "count": count, "days_left": count}
    variables |= {"has_previous": has_previous, "report_link": ""}
    return render(template, variables | service.values(language))


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("key", KEYS)
def test_a_letter_without_a_contact_names_none(key: str, language: str) -> None:
    for has_previous in (False, True):
        text = written(key, language, SAMPLE, has_previous=has_previous).text

        assert _ASKS.findall(text) == []
        assert "\n\n\n" not in text
        assert text == f"{text.rstrip()}\n"
        assert [line for line in text.splitlines() if line != line.strip()] == []


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("key", KEYS)
def test_a_letter_with_a_contact_says_when_to_ask(key: str, language: str) -> None:
    text = written(key, language, ENTERED).text

    assert bool(_ASKS.findall(text)) is (key not in (CERTIFICATE_EXPIRY, GOAL_DUE))
    assert "\n\n\n" not in text


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("key", KEYS)
def test_the_daily_check_accepts_every_built_in_text(key: str, language: str) -> None:
    template = default_template(key, language)
    row = {
        "id": "1",
        "template_key": key,
        "notification_type": "EMAIL",
        "language": language,
        "subject": template.subject,
        "body": template.body,
        "is_html": False,
        "is_markdown": False,
        "sample_data": None,
    }

    assert findings_in(TenantSettings(templates=[row])) == []


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_letter_about_a_report_says_where_its_files_are(language: str) -> None:
    template = default_template("monthly_report", language)
    service = ENTERED.model_copy(update={"report_link": "https://portal.example.jp/{tenant_code}/{month}"})
    link = service.report_link_of("青 葉", "2026-10")
    sample = sample_of("monthly_report", {}) | service.values(language) | {"report_link": link}

    assert link == "https://portal.example.jp/%E9%9D%92%20%E8%91%89/2026-10"
    assert f"\n{link}\n" in render(template, sample).text


@pytest.mark.parametrize(
    ("key", "one", "two"),
    [
        (SETTINGS_BROKEN, "1 problem in", "2 problems in"),
        (CHANNELS_GONE, "1 notification setting affected", "2 notification settings affected"),
    ],
)
def test_an_english_subject_counts_one_and_many(key: str, one: str, two: str) -> None:
    assert one in written(key, "en", ENTERED, count=1).subject
    assert two in written(key, "en", ENTERED, count=2).subject
