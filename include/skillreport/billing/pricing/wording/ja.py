"""The texts of Japanese documents."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from typing_extensions import override

from include.skillreport.billing.documents.notation import NOTATIONS
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.charge_models.base import NamedCharge
from include.skillreport.billing.pricing.usage import Aggregation, Metric
from include.skillreport.billing.pricing.wording.words import Named, Words


class Japanese(Words):
    """Japanese texts."""

    notation = NOTATIONS["ja"]
    metrics: ClassVar[Mapping[Metric, str]] = {
        Metric.ACTIVE_USERS: "利用者数",
        Metric.STORAGE_GB: "ストレージ",
        Metric.API_CALLS: "API 呼び出し",
        Metric.REPORTS_GENERATED: "帳票作成",
    }
    units: ClassVar[Mapping[Metric, str]] = {
        Metric.ACTIVE_USERS: "人",
        Metric.STORAGE_GB: "GB",
        Metric.API_CALLS: "回",
        Metric.REPORTS_GENERATED: "件",
    }
    aggregations: ClassVar[Mapping[Aggregation, str]] = {
        Aggregation.SUM: "合計",
        Aggregation.MAX: "最大",
        Aggregation.AVERAGE: "平均",
        Aggregation.LATEST: "末日",
    }
    commitment = "最低利用料金との差額"
    separator = "、"

    @override
    def model(self, charge: NamedCharge) -> str:
        return charge.model_name.ja

    @override
    def name(self, named: Named) -> str:
        return named.name

    @override
    def base_fee(self, plan: str) -> str:
        return f"{plan} 基本料金"

    @override
    def percentage_discount(self, name: str, percent: Decimal) -> str:
        return f"{name}（{self.number(percent)}%）"

    @override
    def monthly(self, amount: Decimal) -> str:
        return f"月額 {self.money(amount)}"

    @override
    def prorated(self, amount: Decimal, days: int) -> str:
        return f"{self.money(amount)} × {days} 日 ÷ {self.month_days} 日（日割り）"

    @override
    def used(self, metric: Metric, aggregation: Aggregation, quantity: Decimal, days: int) -> str:
        label, counted = self.metrics[metric], self.counted(metric, quantity)
        return f"{label}の{self.aggregations[aggregation]} {counted}（{days} 日分）"

    @override
    def days_without_record(self, days: int) -> str:
        return f"記録のない日: {days} 日"

    @override
    def days_closed_again(self, days: int) -> str:
        return f"再締めされた日: {days} 日"

    @override
    def free_quantity(self, metric: Metric, free: Decimal, charged: Decimal) -> str:
        return f"無料分 {self.counted(metric, free)} を差し引き {self.counted(metric, charged)}"

    @override
    def metered(self, meter: str, amount: Decimal, events: Decimal, days: int) -> str:
        return f"{self.meter(meter)}の合計 {self.money(amount)}、{self.number(events)} 件（{days} 日分）"

    @override
    def free_amount(self, free: tuple[Decimal, Decimal], charged: tuple[Decimal, Decimal]) -> str:
        (free_amount, free_events), (amount, events) = free, charged
        return f"無料分 {self.money(free_amount)}、{self.number(free_events)} 件 を差し引き {self.money(amount)}、{self.number(events)} 件"

    @override
    def per_event(self, events: Decimal, amount: Decimal) -> str:
        return f"{self.number(events)} 件 × {self.money(amount)}"

    @override
    def packages(self, packages: Decimal) -> str:
        return f"{self.number(packages)} セット"

    @override
    def flat(self, amount: Decimal) -> str:
        return f"定額 {self.money(amount)}"

    @override
    def charge_minimum(
        self, minimum: Decimal, days: int | None, *, calculated: Decimal, difference: Decimal
    ) -> str:
        shown = self.money(minimum) if days is None else self.prorated(minimum, days)
        return f"最低額 {shown}との差額 {self.money(difference)}を加算（計算額 {self.money(calculated)}）"

    @override
    def fixed_discount(self, value: Decimal, days: int) -> str:
        shown = self.money(value) if days == self.month_days else self.prorated(value, days)
        return f"値引き {shown}（残額を上限とする）"

    @override
    def committed(self, amount: Decimal, days: Period, *, is_agreed: bool) -> str:
        source = "個別契約" if is_agreed else "プラン"
        if days.days == self.month_days:
            return f"{source}の最低利用料金 月額 {self.money(amount)}"
        return f"{source}の最低利用料金（{_span(days)}）{self.prorated(amount, days.days)}"

    @override
    def to_commitment(self, minimum: Decimal, reached: Decimal) -> str:
        return f"最低利用料金 {self.money(minimum)} − ここまでの合計 {self.money(reached)}"

    @override
    def meter(self, name: str) -> str:
        return f"計測額（{name}）"

    @override
    def charge(self, name: str, part: Period, *, events_only: bool = False) -> str:
        span = "" if part.days == self.month_days else f"（{_span(part)}）"
        return f"「{name}」{span}{'の件数分' if events_only else ''}"

    @override
    def some_records(self, label: str, missing_days: int, charge: str) -> str:
        return f"{label}の記録のない日が {missing_days} 日あり、{charge}は記録のある日だけで計算しています"

    @override
    def no_record(self, label: str, charge: str) -> str:
        return f"{label}の記録がないため、{charge}は請求していません"

    @override
    def minimum_only(self, label: str, charge: str) -> str:
        return f"{label}の記録がないため、{charge}は最低額だけを請求しています"


def _span(days: Period) -> str:
    first = f"{days.start:%-m/%-d}"
    return first if days.days == 1 else f"{first}〜{days.end:%-m/%-d}"
