"""An overdue invoice has a reminder after 7 and after 21 days, each once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from include.skillreport.billing import settings
from include.skillreport.billing.receivables.overdue import due_dates_to_remind, due_reminder
from include.skillreport.billing.settings import BillingSettings

SHIPPED = Path(settings.__file__).with_name("settings.yaml")
DUE = date(2026, 11, 30)
STAGES = (7, 21)


@pytest.mark.parametrize(
    ("days", "queued", "stage"),
    [
        (0, (), None),
        (6, (), None),
        (7, (), 7),
        (7, (7,), None),
        (20, (), 7),
        (21, (7,), 21),
        (21, (), 21),
        (22, (21,), None),
        (30, (7, 21), None),
        (51, (), 21),
        (52, (), None),
        (400, (), None),
    ],
)
def test_the_latest_stage_that_is_due_is_sent_once(
    days: int, queued: tuple[int, ...], stage: int | None
) -> None:
    assert due_reminder(DUE, DUE + timedelta(days=days), STAGES, queued) == stage


def test_a_reminder_stage_added_below_a_sent_one_is_not_sent() -> None:
    assert due_reminder(DUE, DUE + timedelta(days=25), (7, 14), (21,)) is None


def test_the_range_of_due_dates_holds_all_invoices_with_a_reminder() -> None:
    today = date(2027, 1, 15)
    first, last = due_dates_to_remind(today, STAGES)

    for days in range(100):
        due_on = today - timedelta(days=days)
        assert due_reminder(due_on, today, STAGES) is None or first <= due_on <= last


@pytest.mark.parametrize("days", [[21, 7], [7, 7], [0], [400]])
def test_the_days_are_ascending_and_within_a_year(days: list[int]) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["billing"]
    with pytest.raises(ValidationError, match="reminder_days"):
        BillingSettings.model_validate(shipped | {"reminder_days": days})


def test_reminders_are_off_without_a_payment_source() -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["billing"]

    assert not BillingSettings.model_validate(shipped).sends_reminders
    for source in ("operations", "host"):
        assert BillingSettings.model_validate(shipped | {"payment_source": source}).sends_reminders
    silent = shipped | {"payment_source": "host", "reminder_days": []}
    assert not BillingSettings.model_validate(silent).sends_reminders
