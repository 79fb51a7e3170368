"""The logs show no secret of a tenant, however many tenants a task serves. Uses Airflow's own masker."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from airflow.sdk._shared.secrets_masker import _secrets_masker
from airflow.sdk.log import mask_logs

from skill_batch.masking import mask_all
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging.channels.line_works import LineWorksConfig
from include.skillreport.messaging.channels.slack import SlackConfig
from include.skillreport.messaging.channels.teams import TeamsConfig
from include.skillreport.messaging.message import mask_secrets
from local_stack.stand_ins import teams_webhook_url

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def masker() -> Iterator[None]:
    """An empty masker for each test."""
    masker = _secrets_masker()
    before = masker.patterns, masker.replacer
    masker.patterns, masker.replacer = set(), None
    yield
    masker.patterns, masker.replacer = before


def random_text(length: int) -> str:
    return secrets.token_hex(length)[:length]


def masked(line: str) -> str:
    """The line as Airflow's supervisor writes it to the task's log."""
    return str(mask_logs(None, "info", {"event": line})["event"])


@pytest.mark.parametrize("has_adapter", [True, False])
def test_the_secrets_of_more_than_twenty_tenants_are_masked(
    monkeypatch: pytest.MonkeyPatch, has_adapter: bool
) -> None:
    if not has_adapter:
        monkeypatch.setenv("AIRFLOW__LOGGING__SECRET_MASK_ADAPTER", "")
    configs = [SlackConfig(token=f"xoxb-{random_text(50)}") for _ in range(60)]
    mask_secrets(configs, Network(mask=mask_all))
    assert [masked(f"refused: {config.token}.") for config in configs] == ["refused: ***."] * 60
    assert masked("refused: 12 messages") == "refused: 12 messages"


def test_many_secrets_cost_one_pattern_and_not_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [random_text(200) for _ in range(1_000)]
    compiled: list[str] = []
    compile_pattern = re.compile

    def count(pattern: str, *flags: int) -> re.Pattern[str]:
        if many[0] in pattern:
            compiled.append(pattern)
        return compile_pattern(pattern, *flags)

    monkeypatch.setattr(re, "compile", count)
    mask_all(many)
    assert len(compiled) == 1
    assert masked(f"a {many[0]} b {many[-1]}") == "a *** b ***"


def test_a_webhook_is_masked_whole_and_in_its_logged_parts() -> None:
    url = teams_webhook_url("https://default1.aa.environment.api.powerplatform.com/").replace(
        "sig=", "sig=a%2Bb%2F0123456789"
    )
    signature = url.partition("sig=")[2]
    mask_secrets([TeamsConfig(url)], Network(mask=mask_all))
    path = url.removeprefix("https://default1.aa.environment.api.powerplatform.com")
    for form in (url, path, f"?sig={signature}", signature.replace("%2B", "+").replace("%2F", "/")):
        assert "0123456789" not in masked(f"POST {form} failed")
    assert "0123456789" not in masked(f"callback={quote_plus(url)}")
    assert masked("https://default1.aa.environment.api.powerplatform.com: timeout").endswith(
        "powerplatform.com: timeout"
    )


def test_a_private_key_is_masked_also_in_a_repr() -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{random_text(64)}\n{random_text(64)}\n-----END PRIVATE KEY-----\n"
    config = LineWorksConfig("1", "client", "s/cret + value", "service@example", key)
    mask_secrets([config], Network(mask=mask_all))
    assert masked(f"key: {key}") == "key: ***\n"
    assert "BEGIN" not in masked(f"bad key: {key!r}")
    assert masked(f"client_secret={quote_plus('s/cret + value')}&x=1") == "client_secret=***&x=1"


def test_the_logins_of_mail_servers_are_masked_in_base64() -> None:
    own = EmailConfig("mail.example", 587, "a@example.jp", "user", "pass word", is_tenants=True)
    shared = EmailConfig("smtp.example", 587, "b@example.jp", "shared", "other word")
    mask_secrets([own], Network(shared, mask=mask_all))
    for login, password in (("user", "pass word"), ("shared", "other word")):
        for text in (f"{login}:{password}", f"\0{login}\0{password}"):
            assert masked(f"AUTH {b64encode(text.encode()).decode()}") == "AUTH ***"
        assert masked(f"password {password!r}") == "password '***'"


def test_airflow_starts_with_the_setting() -> None:
    """Airflow imports the function while it starts, before its own modules are complete."""
    program = (
        "import airflow.settings; from airflow.sdk.log import redact; from skill_batch.masking import mask_all;"
        "mask_all(['first-secret', 'second-secret']); print(redact('first-secret second-secret'))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": "",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    }
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.stdout.splitlines()[-1:] == ["*** ***"], answer.stderr
