"""The mail server of an installation, as Airflow's connection describes it."""

from __future__ import annotations

import json

import pytest

from skill_batch.network import mail_server, mailbox
from include.skillreport.core.errors import ConnectionInvalidError, ConnectionMissingError
from include.skillreport.core.network import MailboxConfig


def smtp(monkeypatch: pytest.MonkeyPatch, **extra: object) -> None:
    """The connection skill_batch_smtp with this extra."""
    value = {
        "conn_type": "smtp",
        "host": "mail.example.jp",
        "login": "batch@example.jp",
        "password": "smtp-very-secret",
        "extra": {"from_email": "報告 <no-reply@example.jp>", **extra},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_SMTP", json.dumps(value))


def test_the_extra_says_what_a_letter_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    smtp(
        monkeypatch,
        reply_to="help@example.jp",
        envelope_sender="bounce+{token}@example.jp",
        unsubscribe_address="unsubscribe+{token}@example.jp",
        unsubscribe_url="https://skill.example.jp/unsubscribe/{token}",
    )

    config = mail_server()

    assert config.reply_to == "help@example.jp"
    assert config.envelope_sender == "bounce+{token}@example.jp"
    assert config.unsubscribe_address == "unsubscribe+{token}@example.jp"
    assert config.unsubscribe_url == "https://skill.example.jp/unsubscribe/{token}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from_email", "報告"),
        ("reply_to", "help"),
        ("reply_to", ["help@example.jp"]),
        ("envelope_sender", 5),
        ("envelope_sender", "bounce"),
        ("unsubscribe_address", "unsubscribe@example.jp"),
        ("unsubscribe_url", "https://skill.example.jp/unsubscribe"),
    ],
)
def test_an_unusable_extra_of_the_mail_server_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    smtp(monkeypatch, **{name: value})

    with pytest.raises(ConnectionInvalidError, match=rf"'skill_batch_smtp'.*{name}"):
        mail_server()


@pytest.mark.parametrize(("name", "most"), [("connections", 1_000), ("messages_per_minute", 1_000_000)])
def test_a_limit_of_the_server_has_bounds(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    for value in (1, str(most)):
        smtp(monkeypatch, **{name: value})
        assert getattr(mail_server(), name) == int(value)
    for value in (0, most + 1, -1, True, "２０", "1_0", "1.5", "9" * 5000):
        smtp(monkeypatch, **{name: value})
        with pytest.raises(ConnectionInvalidError, match=f"{name}（Extra）は 1 以上 {most} 以下の整数に"):
            mail_server()


def test_without_a_connection_the_error_asks_to_define_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_SMTP", raising=False)

    with pytest.raises(ConnectionMissingError, match="'skill_batch_smtp' が定義されていません"):
        mail_server()


def test_a_login_by_token_has_the_names_of_airflows_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    smtp(
        monkeypatch,
        auth_type="oauth2",
        client_id="client-1",
        client_secret="client-very-secret",
        tenant_id="contoso/1",
    )

    config = mail_server()

    assert config.oauth is not None
    assert config.oauth.token_url == "https://login.microsoftonline.com/contoso%2F1/oauth2/v2.0/token"
    assert config.oauth.scope == "https://outlook.office365.com/.default"
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"auth_type": "kerberos"}, "auth_type"),
        ({"auth_type": "oauth2", "client_secret": "s", "tenant_id": "t"}, "client_id"),
        ({"auth_type": "oauth2", "client_id": "c", "tenant_id": "t"}, "client_secret"),
        ({"auth_type": "oauth2", "client_id": "c", "client_secret": "s"}, "tenant_id"),
    ],
)
def test_a_login_by_token_that_misses_something_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, object], named: str
) -> None:
    smtp(monkeypatch, **extra)

    with pytest.raises(ConnectionInvalidError, match=named):
        mail_server()


def imap(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """The connection skill_batch_mailbox."""
    usual = {"conn_type": "imap", "host": "mail.example.jp", "login": "bounce", "password": "very-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_MAILBOX", json.dumps(usual | changes))


def test_a_mailbox_is_optional_and_uses_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_MAILBOX", raising=False)
    assert mailbox() is None

    imap(monkeypatch)
    assert mailbox() == MailboxConfig("mail.example.jp", 993, "bounce", "very-secret", "tls")
    assert "very-secret" not in repr(mailbox())

    imap(monkeypatch, port=1143, extra={"security": "starttls", "folder": "Bounces", "move_to": "Done"})
    assert mailbox() == MailboxConfig(
        "mail.example.jp", 1143, "bounce", "very-secret", "starttls", folder="Bounces", move_to="Done"
    )


def test_a_folder_may_be_in_any_script(monkeypatch: pytest.MonkeyPatch) -> None:
    imap(monkeypatch, extra={"folder": "受信箱", "move_to": "処理済み"})
    found = mailbox()
    assert found is not None
    assert (found.folder, found.move_to) == ("受信箱", "処理済み")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"host": ""}, "ホスト"),
        ({"login": ""}, "ログイン"),
        ({"password": ""}, "パスワード"),
        ({"extra": {"security": "ssl"}}, "security"),
        ({"extra": {"folder": "受信\t箱"}}, "folder"),
        ({"extra": {"move_to": 'x"\r\nA1 DELETE INBOX'}}, "move_to"),
        ({"extra": {"auth_type": "oauth2"}}, "client_id"),
    ],
)
def test_a_mailbox_that_cannot_be_used_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], named: str
) -> None:
    imap(monkeypatch, **changes)

    with pytest.raises(ConnectionInvalidError, match=rf"'skill_batch_mailbox'.*{named}"):
        mailbox()
