"""Who signs an e-mail: the service, in the tenant's language and with the tenant's name. Chats have no signature."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.errors import SettingsError
from include.skillreport.core.settings import SETTINGS_VARIABLE, parse_settings
from include.skillreport.messaging.settings import ServiceSettings
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.outbox_rows import run_notifications, slack, waiting

JAPANESE = (
    "\n\n-- \n"
    """スキル報告サービス（サンプルクラウドサービス株式会社）
ご契約者: 青葉商事
お問い合わせ: support@cloud-service.example
https://cloud-service.example/"""
)
ENGLISH = (
    "\n\n-- \n"
    """Skill Report Service (Sample Cloud Service Co., Ltd.)
Customer: Berlin Trading
Questions: support@cloud-service.example
https://cloud-service.example/"""
)


def test_an_email_is_signed_in_the_language_of_its_tenant(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "A", tenant_name="青葉商事", tenant_name_en="Aoba Trading")
    host_rows.tenant(host, "B", tenant_name="ベルリン商事", tenant_name_en="Berlin Trading", locale="en")
    waiting(host, "A", recipient_address="a@example.jp")
    waiting(host, "A", recipient_address="html@example.jp", message_format="HTML", message_body="<p>本文</p>")
    waiting(host, "B", recipient_address="b@example.jp", message_body="text\n")
    slack(host, "A", services)
    waiting(host, "A", "SLACK", recipient_address="C0123456789")

    result = run_notifications(database, services)

    assert result.status == "completed"
    arrived = {each.destination: each for each in services.messages}
    assert arrived["a@example.jp"].text == f"本文{JAPANESE}"
    assert arrived["b@example.jp"].text == f"text{ENGLISH}"
    assert arrived["html@example.jp"].text == f"本文{JAPANESE}"
    lines = JAPANESE.strip().replace("\n", "<br>")
    assert arrived["html@example.jp"].rich.split() == f"<p>本文</p> <p>{lines}</p>".split()
    assert "スキル報告サービス" not in str(arrived["C0123456789"])


def test_a_sample_signs_no_letter(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("service: {sample: true}", encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(own))
    host_rows.tenant(host, "A")
    waiting(host, "A")

    run_notifications(database, services)

    (arrived,) = services.messages
    assert arrived.text == "本文"


def test_the_defaults_are_a_sample() -> None:
    assert parse_settings("usage: {}", "own.yaml").of(ServiceSettings).sample


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ("sample: false", "name、company、contact のすべてが必要です"),
        ("sample: false, name: x, company: y", "name、company、contact のすべてが必要です"),
        ("url: www.example.jp", r"service\.url: https:// で始まるアドレスか、空にしてください"),
    ],
)
def test_a_service_without_a_contact_is_refused(own: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_settings(f"service: {{{own}}}", "own.yaml")


def test_letters_in_english_have_the_contact_of_the_others_by_default() -> None:
    own = "sample: false, name: 名前, company: 会社, contact: 03-0000-0000, english: {name: N, company: C}"
    service = parse_settings(f"service: {{{own}}}", "own.yaml").of(ServiceSettings)
    assert service.signature("en", "T") == "-- \nN (C)\nCustomer: T\nQuestions: 03-0000-0000"
