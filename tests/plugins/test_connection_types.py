"""The connection types that the wheel registers, and the hooks that test their connections in the UI's form."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import airflow
import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest

from skill_batch.assets import asset_of
from skill_batch.hooks.services import AlertHttpHook, AlertSlackHook, MailboxHook, MailServerHook
from skill_batch.hooks.tenant_db import CleanupDbHook, PlatformDbHook, TenantDbHook
from skill_batch.http_presets import PRESETS
from skill_batch.installation import AirflowInstallation
from skill_batch.notifiers import http_channel
from skill_batch.notifiers.alert_outbox import open_database
from skill_batch.provider_info import get_provider_info
from include.skillreport.core.catalog import BATCHES
from local_stack.stand_ins import StandIns
from tests.airflow_installation import PROJECT
from tests.conftest import Database

TYPES = {kind["connection-type"]: kind for kind in get_provider_info()["connection-types"]}
HOOKS = (
    TenantDbHook,
    PlatformDbHook,
    CleanupDbHook,
    MailServerHook,
    MailboxHook,
    AlertSlackHook,
    AlertHttpHook,
)


@pytest.fixture(scope="module")
def services() -> Iterator[StandIns]:
    with StandIns() as running:
        yield running


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: object) -> None:
    """An Airflow connection."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_the_page_about_alerts_has_a_column_for_each_preset() -> None:
    page = (PROJECT / "docs/admin/alerts.md").read_text(encoding="utf-8")
    assert f"\n| field | {' | '.join(f'`{preset}`' for preset in PRESETS)} |\n" in page


def test_the_provider_info_has_airflows_format() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_provider_names_what_can_be_imported() -> None:
    info = get_provider_info()
    (hooks,), (plugin,) = info["hooks"], info["plugins"]
    assert {hook.__module__ for hook in HOOKS} < set(hooks["python-modules"])
    for module in hooks["python-modules"]:
        importlib.import_module(module)
    assert _named(plugin["plugin-class"]).name == plugin["name"]


def test_an_asset_is_a_dataset_of_openlineage() -> None:
    (uris,) = get_provider_info()["asset-uris"]
    for spec in (spec for batch in BATCHES for spec in batch.makes):
        asset = asset_of(spec)
        dataset = _named(uris["to_openlineage_converter"])(asset, None)
        assert f"{dataset.namespace}/{dataset.name}" == asset.uri
        assert urlsplit(asset.uri).scheme in uris["schemes"]


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_a_connection_type_names_the_hook_that_reads_it(hook: type) -> None:
    kind = TYPES[hook.conn_type]  # type: ignore[attr-defined]
    module, _, name = kind["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is hook
    # Airflow's form shows the name of the hook once it has imported it.
    assert hook.hook_name == kind["hook-name"]
    assert set(TYPES) == {each.conn_type for each in HOOKS}


def test_the_http_forms_fields_are_the_extras_of_its_channel() -> None:
    assert set(TYPES["skill_batch_alert_http"]["conn-fields"]) == http_channel.OUR_EXTRAS


def test_each_field_has_a_default_of_its_type_and_of_its_choices() -> None:
    for kind in TYPES.values():
        for field in kind["conn-fields"].values():
            if "default" in field["schema"]:
                jsonschema.validate(field["schema"]["default"], field["schema"])
            assert field["label"]


def test_the_mail_server_is_tested_by_a_login(monkeypatch: pytest.MonkeyPatch, services: StandIns) -> None:
    extra = {"from_email": "alerts@example.jp", "disable_ssl": True, "disable_tls": True, "people": None}
    server = {"conn_type": "skill_batch_mail", "host": "127.0.0.1", "extra": extra}
    define(monkeypatch, "tried", **server, port=services.smtp_port)
    define(monkeypatch, "dead", **server, port=1)

    assert MailServerHook("tried").test_connection() == (True, "接続できました")
    works, reason = MailServerHook("dead").test_connection()
    assert not works
    assert reason
    assert services.messages == []


def test_a_mail_server_without_a_sender_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "senderless", conn_type="skill_batch_mail", host="127.0.0.1")
    works, reason = MailServerHook("senderless").test_connection()
    assert not works
    assert "'senderless'" in reason


def test_the_mailbox_is_tested_by_opening_its_folder(
    monkeypatch: pytest.MonkeyPatch, services: StandIns
) -> None:
    server = {"conn_type": "skill_batch_mailbox", "host": "127.0.0.1", "port": services.imap_port}
    login = {"login": "bounce@example.jp", "password": "local-stand-in"}
    define(monkeypatch, "mailbox", **server, **login, extra={"security": "none"})
    define(monkeypatch, "of_nobody", **server, extra={"security": "none"})

    assert MailboxHook("mailbox").test_connection() == (True, "接続できました")
    works, reason = MailboxHook("of_nobody").test_connection()
    assert not works
    assert "'of_nobody' に ログイン、パスワード" in reason
    assert MailboxHook("undefined").test_connection()[0] is False


def test_slack_says_whose_token_it_is(monkeypatch: pytest.MonkeyPatch, services: StandIns) -> None:
    extra = {"base_url": services.slack_base_url}
    define(monkeypatch, "slack", conn_type="skill_batch_alert_slack", password="xoxb-test", extra=extra)
    define(monkeypatch, "tokenless", conn_type="skill_batch_alert_slack", extra=extra)

    works, answer = AlertSlackHook("slack").test_connection()
    assert works, answer
    assert answer.startswith("接続できました（")
    works, answer = AlertSlackHook("tokenless").test_connection()
    assert not works
    assert "Slack が受け付けません" in answer
    assert services.messages == []


@pytest.mark.parametrize("hook", [TenantDbHook, PlatformDbHook])
def test_fields_that_were_left_empty_are_as_if_they_were_absent(
    monkeypatch: pytest.MonkeyPatch, shared_copy: Database, hook: type[TenantDbHook] | type[PlatformDbHook]
) -> None:
    """The form saves null for them."""
    uri = urlsplit(shared_copy.airflow_connection(hook.role))
    empty: dict[str, object] = dict.fromkeys(TYPES[hook.conn_type]["conn-fields"])
    login = {"login": uri.username, "password": uri.password, "schema": uri.path.strip("/")}
    host = {"host": uri.hostname, "port": uri.port}
    define(monkeypatch, hook.default_conn_name, conn_type=hook.conn_type, **host, **login, extra=empty)

    with hook().connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == (hook.role,)
    with psycopg.connect(AirflowInstallation().database(hook.default_conn_name)) as connection:
        assert connection.info.dbname == shared_copy.name
    with open_database(hook().connection) as connection_of_alerts:
        assert (connection_of_alerts is None) == (hook is TenantDbHook)
