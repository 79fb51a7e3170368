"""The price list: refused values, and their error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.billing.errors import BillingError
from include.billing.pricing.price_list import PriceList, load_price_list, parse_price_list
from include.billing.pricing.usage import Metric
from include.errors import SettingsError
from include.settings import SETTINGS_VARIABLE
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


def parse(*versions: Mapping[str, Any]) -> PriceList:
    text = yaml.safe_dump({"sample": True, "versions": list(versions)}, allow_unicode=True)
    return parse_price_list(text, "prices.yaml")


def changed(path: str, value: object) -> PriceList:
    """The list of one version with one value replaced or added."""
    version = deepcopy(VERSION)
    place: Any = {"versions": [version]}
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        place = place[key]
    place[last] = value
    return parse(version)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            f"{CHARGES}.0.tiers.1.up_to",
            10,
            f"{CHARGES}.0.graduated.tiers: Value error, up_to must rise from tier to tier",
        ),
        (
            f"{CHARGES}.0.tiers.0.up_to",
            None,
            f"{CHARGES}.0.graduated.tiers: Value error, up_to must rise from tier to tier, and only the last may be null",
        ),
        (
            f"{CHARGES}.0.tiers.2.up_to",
            30,
            f"{CHARGES}.0.graduated.tiers: Value error, the last tier must have up_to: null",
        ),
        (f"{CHARGES}.0.tiers", [], f"{CHARGES}.0.graduated.tiers: Tuple should have at least 1 item"),
        (
            f"{CHARGES}.0.tiers.1.flat_amount",
            -1,
            f"{CHARGES}.0.graduated.tiers.1.flat_amount: Input should be greater than or equal to 0 (got -1)",
        ),
        (
            f"{CHARGES}.1.unit_amount",
            -0.5,
            f"{CHARGES}.1.standard.unit_amount: Input should be greater than or equal to 0 (got -0.5)",
        ),
        (
            f"{PLAN}.prices.JPY.base_fee",
            -1,
            f"{PLAN}.prices.JPY.base_fee: Input should be greater than or equal to 0",
        ),
        (
            f"{PLAN}.prices.JPY.base_fee",
            float("nan"),
            f"{PLAN}.prices.JPY.base_fee: Input should be a finite number",
        ),
        (
            f"{PLAN}.prices.JPY.base_fee",
            0.5,
            f"{PLAN}.prices: Value error, JPY.base_fee is no multiple of 1 JPY",
        ),
        (
            f"{PLAN}.prices.JPY.minimum_commitment",
            0.5,
            f"{PLAN}.prices: Value error, JPY.minimum_commitment is no multiple of 1 JPY",
        ),
        (
            f"{PLAN}.prices.USD",
            {"base_fee": 0.555},
            f"{PLAN}.prices: Value error, USD.base_fee is no multiple of 0.01 USD",
        ),
        (
            f"{PLAN}.prices.YEN",
            {"base_fee": 1},
            f"{PLAN}.prices: Value error, YEN is no currency of ISO 4217",
        ),
        (
            f"{CHARGES}.1.metric",
            "logins",
            f"{CHARGES}.1.standard.metric: Input should be 'active_users', 'storage_gb'",
        ),
        (
            f"{PLAN}.included.logins",
            5,
            f"{PLAN}.included.logins.[key]: Input should be 'active_users', 'storage_gb'",
        ),
        (
            f"{PLAN}.included.api_calls",
            -5,
            f"{PLAN}.included.api_calls: Input should be greater than or equal to 0",
        ),
        (
            f"{CHARGES}.1.aggregation",
            "sum",
            f"{CHARGES}.1.standard: Value error, storage_gb is a level, and summed over days it is billed thirtyfold",
        ),
        (
            f"{CHARGES}.0.aggregation",
            "sum",
            f"{CHARGES}.0.graduated: Value error, active_users is a level, and summed over days it is billed thirtyfold",
        ),
        (
            f"{CHARGES}.1.included",
            3,
            f"{PLAN}: Value error, prices.JPY: charge 'storage_gb' has free units of its own, and the plan includes storage_gb",
        ),
        (
            f"{CHARGES}.1.unit_price",
            3,
            f"{CHARGES}.1.standard.unit_price: Extra inputs are not permitted (got 3)",
        ),
        (
            f"{CHARGES}.1.prorate",
            "tiers",
            f"{CHARGES}.1.standard.prorate: Input should be 'amount', 'included' or 'none' (got 'tiers')",
        ),
        (
            f"{CHARGES}.3.prorate",
            "amount",
            f"{CHARGES}.3.metered_percentage.prorate: Input should be <Prorate.INCLUDED: 'included'> or",
        ),
        (f"{CHARGES}.3.meter", "", f"{CHARGES}.3.metered_percentage.meter: String should have at least 1"),
        (
            f"{CHARGES}.3.metric",
            "api_calls",
            f"{CHARGES}.3.metered_percentage.metric: Extra inputs are not permitted",
        ),
        (f"{CHARGES}.1.minimum", 0, f"{CHARGES}.1.standard.minimum: Input should be greater than 0 (got 0)"),
        (
            f"{CHARGES}.1.minimum",
            0.5,
            f"{PLAN}.prices: Value error, JPY.charge 'storage_gb'.minimum is no multiple of 1 JPY",
        ),
        (
            f"{CHARGES}.3.free_amount",
            0.5,
            f"{PLAN}.prices: Value error, JPY.charge '決済手数料'.free_amount is no multiple of 1 JPY",
        ),
        (f"{PLAN}.name_en", "", f"{PLAN}.name_en: String should have at least 1 character"),
        (f"{CHARGES}.1.model", "flat", f"{CHARGES}.1: Input tag 'flat' found using 'model' does not match"),
        (f"{CHARGES}.1.round_up_to", 0, f"{CHARGES}.1.standard.round_up_to: Input should be greater than 0"),
        (f"{CHARGES}.2.rate", 101, f"{CHARGES}.2.percentage.rate: Input should be less than or equal to 100"),
        (f"{PLAN}.setup_fee", 3, f"{PLAN}.setup_fee: Extra inputs are not permitted (got 3)"),
        (f"{PLAN}.name", "", f"{PLAN}.name: String should have at least 1 character"),
        (
            f"{PLAN}.tax",
            "luxury",
            f"{PLAN}.tax: Input should be 'standard', 'reduced', 'exempt', 'not_taxable', 'export' or 'out_of_scope' (got 'luxury')",
        ),
        (
            "versions.0.effective_from",
            date(2026, 4, 2),
            "versions.0.effective_from: Value error, a version takes effect on the first of a month",
        ),
    ],
)
def test_what_does_not_hold_is_refused_with_file_plan_and_field(path: str, value: object, words: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        changed(path, value)
    assert str(refusal.value).startswith(f"prices.yaml: {words}")


@pytest.mark.parametrize("second", [date(2026, 4, 1), date(2026, 3, 1)])
def test_versions_must_rise(second: date) -> None:
    with pytest.raises(
        SettingsError,
        match=r"prices\.yaml: versions: Value error, effective_from must rise from version to version",
    ):
        parse(VERSION, VERSION | {"effective_from": second})


def test_a_list_without_a_version_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"prices\.yaml: versions: Tuple should have at least 1 item"):
        parse()


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "is not YAML"), ("", "Input should be a valid dictionary")]
)
def test_a_file_that_is_no_price_list_is_refused(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=rf"prices\.yaml.* {words}"):
        parse_price_list(text, "prices.yaml")


def test_all_that_does_not_hold_is_said_at_once() -> None:
    broken = VERSION | {"effective_from": date(2026, 4, 2), "tax": 10}
    with pytest.raises(
        SettingsError, match=r"versions\.0\.effective_from: .*; prices\.yaml: versions\.0\.tax: "
    ):
        parse(broken)


def test_prices_keep_every_decimal_that_is_written() -> None:
    prices = changed(f"{CHARGES}.1.unit_amount", 0.007).versions[0].plans["BASIC"].prices["JPY"]
    assert str(prices.charges[1].single_price) == "0.007"


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


def test_a_price_list_that_does_not_hold_or_is_not_there_is_named_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path starts at the settings file that names it."""
    (tmp_path / "own.yaml").write_text("billing: {price_list: prices.yaml}", encoding="utf-8")
    monkeypatch.setenv(SETTINGS_VARIABLE, str(tmp_path / "own.yaml"))
    prices = tmp_path / "prices.yaml"
    with pytest.raises(SettingsError) as missing:
        load_price_list()
    assert str(missing.value) == (
        f"{prices} (named by billing.price_list) cannot be read: No such file or directory"
    )
    prices.write_text("{sample: false, versions: []}", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=rf"{re.escape(str(prices))}: versions: Tuple should have at least 1"
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


def test_what_a_plan_includes_is_known_without_pricing_anything() -> None:
    prices = parse(VERSION)
    october = date(2026, 10, 1)
    assert prices.included("BASIC", october) == {Metric.STORAGE_GB: Decimal(5)}
    assert prices.included("GOLD", october) == {}
    assert prices.included(None, october) == {}
    assert prices.included("BASIC", date(2026, 3, 1)) == {}


def test_a_plan_or_a_currency_that_is_there_twice_is_refused_instead_of_guessed() -> None:
    text = "sample: true\nversions:\n- effective_from: 2026-04-01\n  tax_included: false\n  plans:\n    A: {name: a}\n    A: {name: b}\n"
    with pytest.raises(SettingsError, match=r"prices\.yaml is not YAML: the key 'A' is there twice"):
        parse_price_list(text, "prices.yaml")
