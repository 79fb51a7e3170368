"""The settings: the defaults are valid; an error names the file, the place and the value."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.billing.settings import BillingSettings, UsageSettings
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.settings import (
    SETTINGS_VARIABLE,
    default_files,
    load_settings,
    parse_settings,
    section_classes,
)
from include.skillreport.messaging.settings import NotificationSettings


def changed(path: str, value: object) -> str:
    """The defaults of a section, with one setting changed."""
    section, *names, name = path.split(".")
    document: dict[str, Any] = {}
    for file in default_files():
        document |= yaml.safe_load(file.read_text(encoding="utf-8"))
    place = document[section]
    for each in names:
        place = place[each]
    place[name] = value
    return yaml.safe_dump({section: document[section]})


def usage() -> UsageSettings:
    return UsageSettings.load()


def test_the_defaults_are_valid_and_are_read_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTINGS_VARIABLE)
    execution, billing = ExecutionSettings.load(), BillingSettings.load()
    assert (execution.max_mapped_tenants, execution.shards) == (100, 40)
    assert usage().quota_warning_percent == Decimal(80)
    assert billing.rounding == "floor"
    assert billing.issuer.corporate is True
    assert billing.issuer.sample is True
    assert billing.price_list.is_file()


def test_each_section_has_one_class_and_one_mapping_of_defaults() -> None:
    keys = [each.key for each in section_classes()]
    written = [key for file in default_files() for key in yaml.safe_load(file.read_text(encoding="utf-8"))]
    assert sorted(keys) == sorted(written)
    assert len(keys) == len(set(keys)) == 14


def test_settings_are_read_only() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ExecutionSettings.load().shards = 1


def shown(value: object) -> str:
    """The value as the message has it."""
    if value is None:
        return "空"
    return repr(value) if isinstance(value, str) else {"nan": "NaN"}.get(str(value), str(value).lower())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("execution.max_mapped_tenants", 1001),
        ("execution.max_mapped_tenants", 0),
        ("execution.shards", "many"),
        ("execution.shards", 1.5),
        ("execution.shards", None),
        ("usage.quota_warning_percent", -1),
        ("usage.surge_percent", float("nan")),
        ("usage.surge_history_days", 0),
        ("billing.rounding", "up"),
        ("billing.due_months", -1),
        ("billing.issuer.corporate", "perhaps"),
        ("billing.issuer.corporate", 1),
        ("execution.shards", True),
        ("billing.issuer.name", 5),
    ],
)
def test_an_invalid_value_is_named_with_file_and_setting(path: str, value: object) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_settings(changed(path, value), "settings.yaml")
    assert re.fullmatch(
        rf"settings\.yaml の \d+ 行目 {re.escape(path)}: [^。]*。?[^。]*（今の値は {re.escape(shown(value))}）。",
        str(raised.value),
    )


def test_an_unknown_setting_is_named_instead_of_being_ignored() -> None:
    with pytest.raises(
        SettingsError,
        match=r"行目 usage\.surge_percnt: この名前の設定はありません.*（surge_percent の書き間違い",
    ):
        parse_settings(changed("usage.surge_percnt", 200), "settings.yaml")


def test_everything_that_does_not_hold_is_named_at_once() -> None:
    text = "execution: {shards: 0}\nusage: {surge_percent: much}"
    with pytest.raises(SettingsError) as raised:
        parse_settings(text, "settings.yaml")
    assert "execution.shards" in str(raised.value)
    assert "usage.surge_percent" in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (
            "usage.quota_warning_percent",
            95,
            "quota_warning_percent は quota_critical_percent より小さくしてください",
        ),
        (
            "usage.surge_min_history_days",
            29,
            "surge_min_history_days は surge_history_days 以下にしてください",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(path: str, value: object, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"行目 usage: {rule}"):
        parse_settings(changed(path, value), "settings.yaml")


@pytest.mark.parametrize("text", ["execution: [", "\tusage: {}", "a: b: c"])
def test_a_file_that_is_not_yaml_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml の 1 行目.*: YAML として読めません"):
        parse_settings(text, "settings.yaml")


@pytest.mark.parametrize("text", ["", "- execution", "just text"])
def test_a_file_that_holds_no_sections_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^settings\.yaml の 1 行目: 設定のまとまり"):
        parse_settings(text, "settings.yaml")


def test_yaml_cannot_make_objects() -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml の 1 行目 execution: タグ（!）は使えません"):
        parse_settings("execution: !!python/object/apply:os.getcwd []", "settings.yaml")


# An installation's own file ------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the environment names."""
    file = tmp_path / "own.yaml"
    monkeypatch.setenv(SETTINGS_VARIABLE, str(file))
    return file


def test_an_installations_own_values_replace_the_shipped_ones_and_leave_the_others(own: Path) -> None:
    own.write_text(
        "usage: {quota_warning_percent: 70}\nnotification: {goal_days: [3]}\nlog_cleanup: {row_days: {system_log: 9}}",
        encoding="utf-8",
    )
    row_days = LogCleanupSettings.load().row_days
    assert (usage().quota_warning_percent, usage().quota_critical_percent) == (Decimal(70), Decimal(95))
    assert NotificationSettings.load().goal_days == (3,)
    assert (row_days.system_log, row_days.expired_token) == (9, 1)
    assert BillingSettings.load().price_list.is_file()


@pytest.mark.parametrize("path", ["prices/own.yaml", "/etc/batch/prices.yaml"])
def test_a_relative_price_list_starts_at_the_file_that_names_it(own: Path, path: str) -> None:
    own.write_text(f"billing: {{price_list: {path}}}", encoding="utf-8")
    assert BillingSettings.load().price_list == own.parent / path


def test_without_an_own_file_the_shipped_values_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, "")
    assert BillingSettings.load().issuer.sample is True


def test_an_issuer_is_never_mixed_with_the_sample(own: Path) -> None:
    own.write_text("billing: {issuer: {sample: false, name: 株式会社自社}}", encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    for name in ("bank_account", "registration_number"):
        assert f"{own} の 1 行目 billing.issuer.{name}: この設定が必要です" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("billing: {rounding: up}", "{own} の 1 行目 billing.rounding: floor、half-up、ceil のどれかにしてください（今の値は 'up'）。"),
        ("usage: {surge_percnt: 1}", "{own} の 1 行目 usage.surge_percnt: この名前の設定はありません"),
        ("usage: {quota_warning_percent: 95}", "{own} の 1 行目 usage: quota_warning_percent は"),
        ("log_cleanup: {classes: {own: {archived: true}}}", "{own} の 1 行目 log_cleanup.classes.own.retention_days: この設定が必要です"),
        ("billing: 5", "{own} の 1 行目 billing: 「キー: 値」のまとまりにしてください（今の値は 5）。"),
        ("billing: {price_list: 5}", "{own} の 1 行目 billing.price_list: 文字列にしてください"),
        ("", "{own} の 1 行目: 設定のまとまり"),
        ("- billing", "{own} の 1 行目: 設定のまとまり"),
        ("billing: {", "{own} の 1 行目 billing: YAML として読めません。かっこが閉じていません"),
        ("billing: {}\nbilling: {}", "{own} の 2 行目: キー 'billing' が 2 回あります（1 回目は 1 行目）"),
    ],
)  # fmt: skip
def test_an_invalid_own_file_is_named_with_line_and_setting(own: Path, text: str, complaint: str) -> None:
    own.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(complaint.format(own=own))


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff\xfe", "UTF-8 ではありません")]
)
def test_an_own_file_that_cannot_be_read_is_named(own: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert (
        str(raised.value)
        == f"{own}（{SETTINGS_VARIABLE} が指定）を読めません（{reason}）。ファイルと権限を確認してください。"
    )


# A tenant's own values -----------------------------------------------------------------------------------------------------


def test_a_tenants_own_values_replace_the_defaults_and_leave_the_others() -> None:
    overridden = usage().overridden({"quota_warning_percent": "70.5", "storage_gb": "12"})
    assert overridden.quota_warning_percent == Decimal("70.5")
    assert overridden.storage_gb == Decimal(12)
    assert overridden.quota_critical_percent == usage().quota_critical_percent
    assert usage().quota_warning_percent == Decimal(80)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quota_warning_percent", "eighty"),
        ("quota_warning_percent", ""),
        ("quota_warning_percent", None),
        ("surge_percent", "NaN"),
        ("surge_percent", "Infinity"),
        ("surge_min_history_days", "7.5"),
        ("storage_gb", "-1"),
        ("storage_gb", "NaN"),
        ("api_calls_per_month", "1e400"),
        ("api_calls_per_month", "１２"),
        ("api_calls_per_month", "1_000"),
        ("surge_percent", "true"),
        ("no_such_setting", "1"),
    ],
)
def test_a_tenants_invalid_value_is_named_with_its_key(key: str, value: str | None) -> None:
    with pytest.raises(SettingsError) as raised:
        usage().overridden({key: value})
    assert f"batch.usage.{key}: " in str(raised.value)
    assert "この名前の" in str(raised.value) or f"（今の値は {shown(value)}）" in str(raised.value)


def test_a_tenants_value_that_contradicts_the_default_of_another_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"batch\.usage: quota_warning_percent は"):
        usage().overridden({"quota_warning_percent": "96"})
