"""BATCH-018-05's pure rules: protected keys, the plans' file, validation."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.batches.settings_sync.digest import TenantProblems, digest_lines
from include.skillreport.batches.settings_sync.plan_settings import (
    PLAN_SETTINGS_FILE,
    Source,
    load_plan_settings,
    parse_plan_settings,
)
from include.skillreport.batches.settings_sync.protected_keys import is_protected
from include.skillreport.batches.settings_sync.validation import (
    DataType,
    ProblemSeverity,
    Setting,
    SettingProblem,
    is_person,
    problems_of,
    same_value,
)
from include.skillreport.core.errors import SettingsError
from tests.worlds.settings_rows import protected_spellings

DAY = date(2026, 10, 31)


def test_the_deployed_file_holds_and_names_nothing_protected() -> None:
    plans = load_plan_settings()

    assert plans.sample
    assert set(plans.plans) == {"TRIAL", "FREE", "BASIC", "STANDARD", "PREMIUM", "ENTERPRISE"}
    assert not [key for key in plans.settings if is_protected(key) or key.startswith("batch.")]


def test_the_contract_overrides_the_plan() -> None:
    desired = load_plan_settings().desired("BASIC", {"max_users": 500, "max_storage_gb": None})

    assert (desired["limits.max_users"].value, desired["limits.max_users"].source) == ("500", Source.CONTRACT)
    assert (desired["limits.storage_gb"].value, desired["limits.storage_gb"].source) == ("10", Source.PLAN)
    assert desired["features.report_pdf"].value == "true"


@pytest.mark.parametrize(("limit", "severity"), [(0, ProblemSeverity.LOW), (-5, ProblemSeverity.MEDIUM)])
def test_a_contract_that_limits_nothing_leaves_the_plans_value_and_says_so(
    limit: int, severity: ProblemSeverity
) -> None:
    plans = load_plan_settings()
    contract = {"max_users": limit, "max_storage_gb": 70}

    desired = plans.desired("BASIC", contract)
    (problem,) = plans.not_negotiated(contract)

    assert (desired["limits.max_users"].value, desired["limits.max_users"].source) == ("20", Source.PLAN)
    assert (problem.severity, problem.key) == (severity, "limits.max_users")
    assert f"max_users が {limit} の" in problem.text
    assert plans.not_negotiated({"max_users": None, "max_storage_gb": 1}) == []


def _with_key(key: str) -> str:
    content: dict[str, Any] = yaml.safe_load(PLAN_SETTINGS_FILE.read_text(encoding="utf-8"))
    content["settings"][key] = {"name": "x", "data_type": "STRING"}
    for values in content["plans"].values():
        values[key] = "x"
    return yaml.safe_dump(content, allow_unicode=True)


@given(protected_spellings())
def test_a_protected_key_is_refused_in_every_spelling(key: str) -> None:
    assert is_protected(key)
    with pytest.raises(SettingsError, match="書き込めません"):
        parse_plan_settings(_with_key(key), "plans.yaml")


@pytest.mark.parametrize(
    "key",
    [
        "security.passwordMinLength",
        "ＰＡＳＳＷＯＲＤ＿ｐｏｌｉｃｙ",
        "pass\u200bword",
        "p-a-s-s-w-o-r-d",
        "pässwörd",
        "p\u0430ssword",  # a Cyrillic a
        "passw0rd",
        "bi11ing",
        "\u1d18\u1d00ssword",  # small capitals
        "ⓟⓐⓢⓢⓦⓞⓡⓓ",
        "adminPw",
        "SSOEnabled",
        "require2FA",
        "API.Key",
        "taxRate",
        "ﾊﾟｽﾜｰﾄﾞ",
        "請求先",
        "クレジットカード",
        "paymentMethod",
        "INVOICE-PREFIX",
    ],
)
def test_examples_of_protected_keys(key: str) -> None:
    assert is_protected(key)


@pytest.mark.parametrize(
    "key",
    [
        "limits.max_users",
        "features.report_pdf",
        "features.slackIntegration",
        "ui.theme",
        "表示.言語",
        "display",
    ],
)
def test_harmless_keys_are_not_protected(key: str) -> None:
    assert not is_protected(key)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"plans": {"FREE": {}}}, "行目 plans.FREE: .* がプランにないか"),
        ({"settings": {"Limits.X": {"name": "x", "data_type": "STRING"}}}, "settings.Limits.X: 名前は limits.max_users の形"),
        ({"settings": {"batch.usage.storage_gb": {"name": "x", "data_type": "STRING"}}}, "settings.batch.usage.storage_gb: 運用者の上書き"),
        ({"settings": {"a.b": {"name": "x", "data_type": "JSON"}}}, "STRING、INTEGER、DECIMAL、BOOLEAN のどれか"),
        ({"settings": {"a.b": {"name": "x", "data_type": "STRING", "contract": "max_users"}}}, "data_type を INTEGER に"),
        ({"settings": {"a.b_c": {"name": "x", "data_type": "STRING"}, "a.bc": {"name": "x", "data_type": "STRING"}}}, "つづりの形"),
        ({"sample": "perhaps"}, "sample"),
        ({"unknown": 1}, "unknown"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_hold_is_refused_with_the_place(change: dict[str, Any], reason: str) -> None:
    content = yaml.safe_load(PLAN_SETTINGS_FILE.read_text(encoding="utf-8"))
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    with pytest.raises(SettingsError, match=reason):
        parse_plan_settings(yaml.safe_dump(content), "plans.yaml")


def test_a_plans_value_has_the_settings_type() -> None:
    text = PLAN_SETTINGS_FILE.read_text(encoding="utf-8")
    with pytest.raises(
        SettingsError,
        match=r"plans\.yaml の 20 行目 plans\.TRIAL\.limits\.max_users: INTEGER の値にしてください（今の値は 'ten'）",
    ):
        parse_plan_settings(
            text.replace("limits.max_users: 10\n", "limits.max_users: ten\n", 1), "plans.yaml"
        )
    with pytest.raises(SettingsError, match="キー 'sample' が 2 回あります"):
        parse_plan_settings(text + "sample: false\n", "plans.yaml")


# The operators' digest -------------------------------------------------------------------------------------------------


def _problem(key: str, severity: ProblemSeverity = ProblemSeverity.HIGH) -> SettingProblem:
    return SettingProblem(severity, key, "値がありません")


@given(st.integers(0, 40))
def test_the_digest_never_lists_more_than_ten_tenants(count: int) -> None:
    lines = digest_lines(DAY, [TenantProblems(f"T{n:02}", "社", [_problem("ui.x")]) for n in range(count)])
    if not count:
        assert lines == []
        return
    assert lines[0] == f"テナント設定の問題（2026-10-31）: 新規 高 {count}（{count} テナント）"
    listed = [line for line in lines if line.startswith("・")]
    assert listed == [f"・T{n:02} 社: 【高】ui.x: 値がありません" for n in range(min(count, 10))]
    assert (f"ほか {count - 10} テナント" in lines) is (count > 10)


def test_the_digest_has_the_worst_first_and_each_tenant_in_one_line() -> None:
    problems = [_problem(f"ui.number{n}") for n in range(5)]
    lines = digest_lines(
        DAY,
        [
            TenantProblems("A", "社", problems),
            TenantProblems(
                "B",
                "改行\nの" + "長" * 100,
                [*problems[:1], _problem("pass\nword", ProblemSeverity.CRITICAL)],
            ),
        ],
    )
    assert lines[0] == "テナント設定の問題（2026-10-31）: 新規 重大 1、高 6（2 テナント）"
    assert (
        lines[1]
        == f"・B 改行 の{'長' * 54}…: 【重大】pass word: 値がありません、【高】ui.number0: 値がありません"
    )
    assert lines[2].startswith("・A 社: 【高】ui.number0: ")
    assert lines[2].endswith("、【高】ui.number2: 値がありません、ほか 2 件")


# Validation ------------------------------------------------------------------------------------------------------------


def _severities(value: str | None, key: str = "ui.theme", **values: Any) -> list[ProblemSeverity]:
    return [problem.severity for problem in problems_of([Setting("id", key, value, **values)])]


@pytest.mark.parametrize(
    ("value", "data_type", "severity"),
    [
        ("10", "INTEGER", None),
        ("ten", "integer", ProblemSeverity.HIGH),
        ("１０", "INTEGER", ProblemSeverity.HIGH),
        ("9" * 5_000, "INTEGER", ProblemSeverity.HIGH),
        ("1.5", "NUMBER", None),
        ("NaN", "number", ProblemSeverity.HIGH),
        ("TRUE", "boolean", None),
        ("yes", "BOOLEAN", ProblemSeverity.HIGH),
        ('{"a": 1}', "JSON", None),
        ("[" * 100_000, "JSON", ProblemSeverity.HIGH),
        ("x", "COLOUR", ProblemSeverity.LOW),
        ("x", None, None),
        (None, "INTEGER", None),
    ],
)
def test_values_have_the_type_that_the_row_says(
    value: str | None, data_type: str | None, severity: ProblemSeverity | None
) -> None:
    assert _severities(value, data_type=data_type) == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("value", "rules", "severity"),
    [
        ("5", '{"min": 1, "max": 10}', None),
        ("0", '{"min": 1}', ProblemSeverity.HIGH),
        ("11", '{"maximum": 10.5}', ProblemSeverity.HIGH),
        ("abc", '{"maxLength": 2}', ProblemSeverity.HIGH),
        ("abc", '{"min_length": 3}', None),
        ("ja", '{"enum": ["ja", "en"]}', None),
        ("fr", '{"options": ["ja", "en"]}', ProblemSeverity.HIGH),
        ("2", '{"enum": [1, 2]}', None),
        ("12-34", '{"pattern": "^[0-9]+-[0-9]+$"}', None),
        ("12", '{"pattern": "^[0-9]+-[0-9]+$"}', ProblemSeverity.HIGH),
        ("12.5", r'{"pattern": "^-?\\d+(\\.\\d+)?$"}', None),
        ("12.", r'{"pattern": "^-?\\d+(\\.\\d+)?$"}', ProblemSeverity.HIGH),
        ("09:30", r'{"pattern": "^([01]\\d|2[0-3]):([0-5]\\d)$"}', None),
        ("24:00", r'{"pattern": "^([01]\\d|2[0-3]):([0-5]\\d)$"}', ProblemSeverity.HIGH),
        ("taro@example.jp", '{"pattern": "^.+?@.+?$"}', None),
        ("sat", '{"pattern": "^(mon|tue|wed|thu|fri)$"}', ProblemSeverity.HIGH),
        ("x", '{"pattern": "("}', ProblemSeverity.MEDIUM),
        ("x", '{"pattern": 5}', ProblemSeverity.MEDIUM),
        ("x", '{"min": "one"}', ProblemSeverity.MEDIUM),
        ("x", '{"enum": 5}', ProblemSeverity.MEDIUM),
        ("x", '{"colour": "\\u0000\\ud800"}', ProblemSeverity.LOW),
        ("x", '{"min": NaN}', ProblemSeverity.MEDIUM),
        ("x", "{broken", ProblemSeverity.MEDIUM),
        ("x", "[1]", ProblemSeverity.MEDIUM),
        ("x", "[" * 100_000, ProblemSeverity.MEDIUM),
        ("x", '{"min": 1e9999999999999999999999}', ProblemSeverity.MEDIUM),
        ("", '{"required": true}', ProblemSeverity.HIGH),
    ],
)
def test_values_keep_the_rules_and_rules_that_are_broken_are_reported(
    value: str, rules: str, severity: ProblemSeverity | None
) -> None:
    assert _severities(value, validation_rules=rules) == ([severity] if severity else [])


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(.*)*x",
        "a*a*a*a*a*$",
        r"(a*)\\1*b",
        "([^b]+)+c",
        "a?" * 40 + "a" * 40,
        "(a|aa)" * 30 + "c",
    ],
)
def test_a_pattern_that_would_take_for_ever_is_not_tried(pattern: str) -> None:
    assert _severities("a" * 200 + "!", validation_rules=f'{{"pattern": "{pattern}"}}') == [
        ProblemSeverity.LOW
    ]


@pytest.mark.parametrize(
    ("pattern", "length"), [("[a-z]*a*[^a]", 256), ("[ab]?" * 10 + "[^ab]", 256), ("^x$", 1)]
)
def test_the_patterns_of_a_tenant_together_take_a_bounded_time(pattern: str, length: int) -> None:
    rules = json.dumps({"pattern": pattern})
    rows = [Setting(str(number), "x", "a" * length, validation_rules=rules) for number in range(2_000)]
    found = [problem.severity for problem in problems_of(rows)]
    tried = found.count(ProblemSeverity.HIGH)
    assert 0 < tried < 2_000
    # Whether a row is tried does not depend on the machine: the problems of two nights are the same.
    assert found == [ProblemSeverity.HIGH] * tried + [ProblemSeverity.LOW] * (2_000 - tried)


def test_required_periods_and_system_managed_settings() -> None:
    assert _severities(" ", is_required=True) == [ProblemSeverity.HIGH]
    assert _severities("x", is_reversed=True) == [ProblemSeverity.MEDIUM]
    assert _severities("x", is_system_managed=True, last_modified_by="user-1") == [ProblemSeverity.HIGH]
    assert _severities("x", is_system_managed=True, last_modified_by="batch:BATCH-018-05_1") == []
    assert _severities("x", "security.x", is_system_managed=True, last_modified_by="u") == [
        ProblemSeverity.CRITICAL
    ]
    assert _severities("encrypted", data_type="INTEGER", is_encrypted=True) == []


def test_nothing_of_a_value_is_said() -> None:
    found = problems_of(
        [Setting("id", "security.password", "hunter2", data_type="INTEGER", validation_rules='{"max": 1}')]
    )
    assert found
    assert "hunter2" not in str(found)


def test_people_and_machines() -> None:
    assert is_person("user-1")
    assert is_person("batch-admin@example.jp")
    assert not any(map(is_person, (None, "", "system", "SYSTEM", "batch", "batch:x", "BATCH-018-01_1")))


@pytest.mark.parametrize(
    ("one", "other", "data_type", "is_same"),
    [
        ("10", " 10 ", DataType.INTEGER, True),
        ("10", "10.0", DataType.INTEGER, True),
        ("10", "11", DataType.INTEGER, False),
        ("ten", "10", DataType.INTEGER, False),
        ("10", "ten", DataType.INTEGER, False),
        ("TRUE", "true", DataType.BOOLEAN, True),
        ("A", "a", DataType.STRING, False),
        (None, "a", DataType.STRING, False),
    ],
)
def test_values_with_the_same_meaning_are_no_difference(
    one: str | None, other: str | None, data_type: DataType, is_same: bool
) -> None:
    assert same_value(one, other, data_type) is is_same


@given(st.text(), st.text(), st.sampled_from([None, *DataType, "x"]))
def test_no_row_breaks_the_checks(value: str, rules: str, data_type: str | None) -> None:
    problems_of([Setting("id", value, value, data_type=data_type, validation_rules=rules)])
