"""The price list: refused values, and their error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.pricing.charge_models import CHARGE_MODELS
from include.skillreport.billing.pricing.price_list import PriceList, load_price_list, parse_price_list
from include.skillreport.billing.pricing.usage import Metric
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.settings import SETTINGS_VARIABLE
from tests.billing.billing_inputs import charge, fee_on_payments

TIERS = [{"up_to": 10, "unit_amount": 5}, {"up_to": 20, "unit_amount": 4}, {"up_to": None, "unit_amount": 3}]
VERSION: dict[str, Any] = {
    "effective_from": date(2026, 4, 1),
    "tax_included": False,
    "plans": {
        "BASIC": {
            "name": "ベーシック",
            "included": {"storage_gb": 5},
            "prices": {
                "JPY": {
                    "base_fee": 10000,
                    "charges": [
                        charge("graduated", "active_users", tiers=TIERS),
                        charge("standard", "storage_gb", unit_amount=100),
                        charge("percentage", of="all", rate=5),
                        fee_on_payments(),
                    ],
                }
            },
        }
    },
}
PLAN = "versions.0.plans.BASIC"
CHARGES = f"{PLAN}.prices.JPY.charges"


def text_of(*versions: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"sample": True, "versions": list(versions)}, allow_unicode=True)


def parse(*versions: Mapping[str, Any]) -> PriceList:
    return parse_price_list(text_of(*versions), "prices.yaml")


def changed(path: str, value: object) -> PriceList:
    """The list of one version with one value replaced or added."""
    return parse_price_list(written(path, value), "prices.yaml")


def written(path: str, value: object) -> str:
    """The text of the list of one version with one value replaced or added."""
    version = deepcopy(VERSION)
    place: Any = {"versions": [version]}
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        place = place[key]
    place[last] = value
    return text_of(version)


AMOUNT = "0 以上 999999999999999 以下の数にしてください"
POSITIVE = "0 より大きく 999999999999999 以下の数にしてください"
MODELS = "、".join(get_args(each.model_fields["model"].annotation)[0] for each in CHARGE_MODELS)
METRICS = "active_users、storage_gb、api_calls、reports_generated のどれかにしてください"


@pytest.mark.parametrize(
    ("path", "value", "place", "words"),
    [
        (f"{CHARGES}.0.tiers.1.up_to", 10, f"{CHARGES}.0.tiers", "up_to は段ごとに大きくし、null は最後の段だけ"),
        (f"{CHARGES}.0.tiers.0.up_to", None, f"{CHARGES}.0.tiers", "up_to は段ごとに大きくし、null は最後の段だけ"),
        (f"{CHARGES}.0.tiers.2.up_to", 30, f"{CHARGES}.0.tiers", "最後の段は up_to: null にしてください"),
        (f"{CHARGES}.0.tiers", [], f"{CHARGES}.0.tiers", "1 件以上にしてください"),
        (f"{CHARGES}.0.tiers.1.flat_amount", -1, None, f"{AMOUNT}（今の値は -1）"),
        (f"{CHARGES}.1.unit_amount", -0.5, None, f"{AMOUNT}（今の値は -0.5）"),
        (f"{CHARGES}.1.unit_amount", 10**15, None, f"{AMOUNT}（今の値は 1000000000000000）"),
        (f"{CHARGES}.1.unit_amount", True, None, f"{AMOUNT}（今の値は true）"),
        (f"{CHARGES}.1.unit_amount", "1,000", None, f"{AMOUNT}（今の値は '1,000'）"),
        (f"{PLAN}.prices.JPY.base_fee", -1, None, AMOUNT),
        (f"{PLAN}.prices.JPY.base_fee", float("nan"), None, f"{AMOUNT}（今の値は NaN）"),
        (f"{PLAN}.prices.JPY.base_fee", 0.5, None, "1 JPY の倍数にしてください（今の値は 0.5）"),
        (f"{PLAN}.prices.JPY.minimum_commitment", 0.5, None, "1 JPY の倍数にしてください（今の値は 0.5）"),
        (f"{PLAN}.prices.USD", {"base_fee": 0.555}, f"{PLAN}.prices.USD.base_fee", "0.01 USD の倍数にしてください（今の値は 0.555）"),
        (f"{PLAN}.prices.YEN", {"base_fee": 1}, None, "YEN は ISO 4217 の通貨ではありません"),
        (f"{CHARGES}.1.metric", "logins", None, f"{METRICS}（今の値は 'logins'）"),
        (f"{PLAN}.included.logins", 5, None, f"{METRICS}（今の値は 'logins'）"),
        (f"{PLAN}.included.api_calls", -5, None, AMOUNT),
        (f"{CHARGES}.1.aggregation", "sum", f"{CHARGES}.1", "storage_gb は日ごとの水準で、合計（sum）すると約 30 倍"),
        (f"{CHARGES}.0.aggregation", "sum", f"{CHARGES}.0", "active_users は日ごとの水準で、合計（sum）すると約 30 倍"),
        (f"{CHARGES}.1.included", 3, f"{CHARGES}.1", "無料分があり、プランの included にも storage_gb があります"),
        (f"{CHARGES}.1.unit_price", 3, None, "この名前の設定はありません"),
        (f"{CHARGES}.1.prorate", "tiers", None, "amount、included、none のどれかにしてください（今の値は 'tiers'）"),
        (f"{CHARGES}.3.prorate", "amount", None, "included、none のどれかにしてください（今の値は 'amount'）"),
        (f"{CHARGES}.3.meter", "", None, "1 文字以上にしてください（今の値は ''）"),
        (f"{CHARGES}.3.metric", "api_calls", None, "この名前の設定はありません"),
        (f"{CHARGES}.1.minimum", 0, None, f"{POSITIVE}（今の値は 0）"),
        (f"{CHARGES}.1.minimum", 0.5, None, "1 JPY の倍数にしてください（今の値は 0.5）"),
        (f"{CHARGES}.3.free_amount", 0.5, None, "1 JPY の倍数にしてください（今の値は 0.5）"),
        (f"{PLAN}.name_en", "", None, "1 文字以上にしてください"),
        (f"{PLAN}.name", 123, None, "文字列にしてください。数や true は引用符で囲みます（今の値は 123）"),
        (f"{CHARGES}.1.model", "unknown", f"{CHARGES}.1", f"model は {MODELS} のどれかにしてください"),
        (f"{CHARGES}.1.round_up_to", 0, None, f"{POSITIVE}（今の値は 0）"),
        (f"{CHARGES}.2.rate", 101, None, "0 以上 100 以下の数にしてください（今の値は 101）"),
        (f"{PLAN}.setup_fee", 3, None, "この名前の設定はありません"),
        (f"{PLAN}.name", "", None, "1 文字以上にしてください"),
        (f"{PLAN}.tax", "luxury", None, "standard、reduced、exempt、not_taxable、export、out_of_scope のどれか"),
        ("versions.0.effective_from", date(2026, 4, 2), None, "月の 1 日にしてください（今の値は '2026-04-02'）"),
        ("versions.0.effective_from", 20260401, None, "1900-01-01 から 2999-12-31 までの日付を 2026-12-01 の形で"),
        ("versions.0.tax_included", 1, None, "true か false にしてください（今の値は 1）"),
    ],
)  # fmt: skip
def test_an_invalid_price_list_is_refused_with_file_line_and_place(
    path: str, value: object, place: str | None, words: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        changed(path, value)
    found = re.fullmatch(r"prices\.yaml の (\d+) 行目 (\S+): (.*)。", str(refusal.value))
    assert found
    assert (found[2], found[3][: len(words)]) == (place or path, words)
    assert "行目" not in found[3], "one problem has one sentence"
    key = found[2].rpartition(".")[2]
    line = written(path, value).splitlines()[int(found[1]) - 1]
    assert key.isdecimal() or f"{key}:" in line


@pytest.mark.parametrize("second", [date(2026, 4, 1), date(2026, 3, 1)])
def test_versions_must_rise(second: date) -> None:
    with pytest.raises(
        SettingsError,
        match=r"prices\.yaml の \d+ 行目 versions\.1\.effective_from: 前の版より後の月にしてください",
    ):
        parse(VERSION, VERSION | {"effective_from": second})


def test_a_list_without_a_version_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"prices\.yaml の 2 行目 versions: 1 件以上にしてください"):
        parse()


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "YAML として読めません"), ("", "「キー: 値」のまとまりにしてください")]
)
def test_a_file_that_is_no_price_list_is_refused(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=rf"prices\.yaml.* {words}"):
        parse_price_list(text, "prices.yaml")


def test_all_that_does_not_hold_is_said_at_once() -> None:
    broken = VERSION | {"effective_from": date(2026, 4, 2), "tax": 10}
    with pytest.raises(SettingsError) as refusal:
        parse(broken)
    assert re.findall(r"行目 (\S+):", str(refusal.value)) == ["versions.0.effective_from", "versions.0.tax"]


@pytest.mark.parametrize("quote", ["", "'"])
@pytest.mark.parametrize("price", ["0.007", "0.1234567890123456789", "100.10"])
def test_prices_keep_every_decimal_that_is_written(price: str, quote: str) -> None:
    text = written(f"{CHARGES}.1.unit_amount", "PRICE").replace("PRICE", f"{quote}{price}{quote}")
    prices = parse_price_list(text, "prices.yaml").versions[0].plans["BASIC"].prices["JPY"]
    assert str(prices.charges[1].single_price) == price


def test_leading_zeros_are_no_octal_number() -> None:
    text = written(f"{PLAN}.prices.JPY.base_fee", "PRICE").replace("PRICE", "010000")
    assert parse_price_list(text, "prices.yaml").versions[0].plans["BASIC"].prices["JPY"].base_fee == 10000


def test_a_misspelt_name_is_one_problem() -> None:
    text = text_of(VERSION).replace("base_fee: 10000", "basefee: 10000")
    with pytest.raises(SettingsError) as refusal:
        parse_price_list(text, "prices.yaml")
    assert str(refusal.value).count("行目") == 1
    assert "basefee: この名前の設定はありません" in str(refusal.value)
    assert "（base_fee の書き間違いではありませんか）" in str(refusal.value)


def test_a_plan_need_not_have_prices() -> None:
    plan = changed("versions.0.plans.FREE", {"name": "無料", "billable": False}).versions[0].plans["FREE"]
    assert (plan.billable, plan.prices, plan.included) == (False, {}, {})


def test_the_shipped_price_list_holds_and_says_that_it_is_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTINGS_VARIABLE)
    shipped = load_price_list()
    assert shipped.sample
    for version in shipped.versions:
        billable = {code: plan.billable for code, plan in version.plans.items()}
        assert billable == {
            "FREE": False,
            "BASIC": True,
            "STANDARD": True,
            "PREMIUM": True,
            "ENTERPRISE": True,
        }
        assert all("JPY" in plan.prices for plan in version.plans.values() if plan.billable)


def test_a_missing_or_invalid_price_list_is_named_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path starts at the settings file that names it."""
    (tmp_path / "own.yaml").write_text("billing: {price_list: prices.yaml}", encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "own.yaml"))
    prices = tmp_path / "prices.yaml"
    with pytest.raises(SettingsError) as missing:
        load_price_list()
    assert str(missing.value) == (
        f"{prices}（billing.price_list が指定）を読めません（No such file or directory）。ファイルと権限を確認してください。"
    )
    prices.write_text("{sample: false, versions: []}", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=rf"{re.escape(str(prices))} の 1 行目 versions: 1 件以上にしてください"
    ):
        load_price_list()


@pytest.mark.parametrize(
    ("month", "version"),
    [
        (date(2026, 4, 1), date(2026, 4, 1)),
        (date(2026, 9, 1), date(2026, 4, 1)),
        (date(2026, 10, 1), date(2026, 10, 1)),
        (date(2030, 1, 1), date(2026, 10, 1)),
    ],
)
def test_a_version_holds_until_the_next_one(month: date, version: date) -> None:
    prices = parse(VERSION, VERSION | {"effective_from": date(2026, 10, 1)})
    assert prices.version_for(month).effective_from == version


def test_a_month_before_the_first_version_has_no_prices() -> None:
    with pytest.raises(
        BillingError, match="2026-03 に有効な料金表がありません（最初の版は 2026-04-01）"
    ) as refusal:
        parse(VERSION).version_for(date(2026, 3, 1))
    assert refusal.value.code == "NO_PRICE_LIST"


def test_included_quantities_of_a_plan_are_known_without_pricing() -> None:
    prices = parse(VERSION)
    october = date(2026, 10, 1)
    assert prices.included("BASIC", october) == {Metric.STORAGE_GB: Decimal(5)}
    assert prices.included("GOLD", october) == {}
    assert prices.included(None, october) == {}
    assert prices.included("BASIC", date(2026, 3, 1)) == {}


def test_a_duplicate_plan_or_currency_is_refused() -> None:
    text = "sample: true\nversions:\n- effective_from: 2026-04-01\n  tax_included: false\n  plans:\n    A: {name: a}\n    A: {name: b}\n"
    with pytest.raises(
        SettingsError,
        match=r"prices\.yaml の 7 行目 versions\.0\.plans: キー 'A' が 2 回あります（1 回目は 6 行目）",
    ):
        parse_price_list(text, "prices.yaml")
