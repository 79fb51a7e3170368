"""The settings file: what is deployed holds; what does not hold is named with its file, its place and its value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import yaml

from include.errors import SettingsError
from include.settings import SETTINGS_FILE, UsageSettings, load_settings, parse_settings


def changed(path: str, value: object) -> str:
    """The deployed file with one setting changed."""
    document: dict[str, Any] = yaml.safe_load(SETTINGS_FILE.read_text(encoding="utf-8"))
    *sections, name = path.split(".")
    place = document
    for section in sections:
        place = place[section]
    place[name] = value
    return yaml.safe_dump(document)


def usage() -> UsageSettings:
    return load_settings().usage


def test_the_deployed_file_holds_and_is_read_as_it_is_written() -> None:
    settings = load_settings()
    assert (settings.execution.max_mapped_tenants, settings.execution.shards) == (100, 40)
    assert settings.usage.quota_warning_percent == Decimal(80)
    assert settings.billing.rounding == "floor"
    assert settings.billing.issuer.corporate is True


def test_settings_cannot_be_changed_by_whoever_reads_them() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().execution.shards = 1


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
    ],
)
def test_a_value_that_does_not_hold_is_named_with_file_setting_and_value(path: str, value: object) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_settings(changed(path, value), "settings.yaml")
    assert str(raised.value).startswith(f"settings.yaml: {path}")
    assert f"(got {value!r})" in str(raised.value)
    assert "pydantic" not in str(raised.value)


def test_a_setting_that_nobody_knows_is_named_instead_of_being_ignored() -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml: usage\.surge_percnt: .*\(got 200\)"):
        parse_settings(changed("usage.surge_percnt", 200), "settings.yaml")


def test_a_setting_that_is_missing_is_named() -> None:
    text = SETTINGS_FILE.read_text(encoding="utf-8").replace("  shards: 40", "")
    with pytest.raises(SettingsError, match=r"settings\.yaml: execution\.shards: Field required"):
        parse_settings(text, "settings.yaml")


def test_everything_that_does_not_hold_is_named_at_once() -> None:
    text = changed("execution.shards", 0).replace("surge_percent: 200", "surge_percent: much")
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
            "quota_warning_percent must be below quota_critical_percent",
        ),
        (
            "usage.surge_min_history_days",
            29,
            "surge_min_history_days must not exceed surge_history_days",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(path: str, value: object, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"settings.yaml: usage: .*{rule}"):
        parse_settings(changed(path, value), "settings.yaml")


@pytest.mark.parametrize("text", ["execution: [", "\tusage: {}", "a: b: c"])
def test_a_file_that_is_not_yaml_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml is not YAML"):
        parse_settings(text, "settings.yaml")


@pytest.mark.parametrize("text", ["", "- execution", "just text"])
def test_a_file_that_holds_no_sections_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^settings\.yaml: "):
        parse_settings(text, "settings.yaml")


def test_yaml_cannot_make_objects() -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml is not YAML"):
        parse_settings("execution: !!python/object/apply:os.getcwd []", "settings.yaml")


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
        ("no_such_setting", "1"),
    ],
)
def test_a_tenants_value_that_does_not_hold_is_named_with_its_key_and_value(
    key: str, value: str | None
) -> None:
    with pytest.raises(SettingsError) as raised:
        usage().overridden({key: value})
    assert f"batch.usage.{key}: " in str(raised.value)
    assert f"(got {value!r})" in str(raised.value)


def test_a_tenants_value_that_contradicts_the_default_of_another_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"batch\.usage: .*quota_warning_percent must be below"):
        usage().overridden({"quota_warning_percent": "96"})
