"""The rule book calculated a second time, with fractions and from the inputs' JSON alone: it shares no code with the product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

UNITS = {"JPY": Fraction(1), "USD": Fraction(1, 100), "KWD": Fraction(1, 1000)}
STEPS = {
    "active_users": Fraction(1, 100),
    "storage_gb": Fraction(1, 10),
    "api_calls": Fraction(1),
    "reports_generated": Fraction(1),
}
RATES = {"standard": 10, "reduced": 8, "exempt": 0, "not_taxable": 0, "export": 0, "out_of_scope": 0}
MONTH_DAYS = 31


@dataclass(frozen=True)
class Line:
    """A line with its exact and its displayed amount."""

    kind: str
    category: str
    exact: Fraction
    amount: Fraction


class Oracle:
    """One October's invoice: all lines with those of 0, tax by category, and total."""

    def __init__(self, month: dict[str, Any]) -> None:
        self.month = month
        self.unit = UNITS[month["currency"]]
        self.lines: list[Line] = []
        for priced in month["parts"]:
            self._add_plan(priced)
        self._add_percentages()
        self._add_fixed()
        self._add_commitment()
        for extra in month.get("extra_charges", []):
            exact = Fraction(extra["quantity"]) * Fraction(extra["unit_amount"])
            self._add("extra", extra["tax_category"], exact)
        self.taxable = self._sums(self.lines)
        self.tax = {name: self._tax(amount, name) for name, amount in self.taxable.items()}
        subtotal = sum(self.taxable.values(), Fraction(0))
        self.total = subtotal if month["tax_included"] else subtotal + sum(self.tax.values())

    def rounded(self, amount: Fraction) -> Fraction:
        steps = abs(amount) / self.unit
        whole = {"floor": floor(steps), "ceil": ceil(steps), "half-up": floor(steps + Fraction(1, 2))}
        return (1 if amount >= 0 else -1) * whole[self.month["rounding"]] * self.unit

    def _add(self, kind: str, category: str, exact: Fraction) -> Fraction:
        self.lines.append(Line(kind, category, exact, self.rounded(exact)))
        return self.lines[-1].amount

    def _listed(self, category: str) -> str:
        return str(self.month.get("tax_category") or category)

    def _tax(self, amount: Fraction, category: str) -> Fraction:
        rate = RATES[category]
        return self.rounded(amount * rate / (100 + rate if self.month["tax_included"] else 100))

    def _sums(self, lines: list[Line]) -> dict[str, Fraction]:
        return {
            category: sum((line.amount for line in lines if line.category == category), Fraction(0))
            for category in RATES
            if any(line.category == category for line in lines)
        }

    # Plans ---------------------------------------------------------------------------------------------------------------

    def _add_plan(self, priced: dict[str, Any]) -> None:
        plan, days = priced["plan"], _days(priced)
        prices = plan["prices"][self.month["currency"]]
        share = Fraction(len(days), MONTH_DAYS)
        base = self._add("base_fee", self._listed(plan["tax"]), Fraction(prices["base_fee"]) * share)
        usage = Fraction(0)
        for is_percentage in (False, True):
            for charge in prices["charges"]:
                if (charge["model"] == "percentage") is is_percentage:
                    basis = {"base_fee": base, "usage": usage, "all": base + usage}
                    exact = self._charge(charge, plan, days, share, basis)
                    if exact is not None:
                        added = self._add("usage", self._listed(charge["tax"] or plan["tax"]), exact)
                        usage += 0 if is_percentage else added

    def _charge(
        self,
        charge: dict[str, Any],
        plan: dict[str, Any],
        days: list[str],
        share: Fraction,
        basis: dict[str, Fraction],
    ) -> Fraction | None:
        exact: Fraction | None
        if charge["model"] == "metered_percentage":
            mode = charge.get("prorate", "included")
            exact = self._metered(charge, days, share if mode == "included" else Fraction(1))
        else:
            mode = charge.get("prorate") or ("included" if charge["aggregation"] == "sum" else "amount")
            exact = self._on_metric(charge, plan, days, share, mode)
            if charge["model"] == "percentage":
                exact = (exact or Fraction(0)) + basis[charge["of"]] * Fraction(charge["rate"]) / 100
        if "minimum" not in charge:
            return exact
        minimum = Fraction(charge["minimum"]) * (share if mode == "amount" else 1)
        return max(exact or Fraction(0), minimum)

    def _metered(self, charge: dict[str, Any], days: list[str], free_share: Fraction) -> Fraction | None:
        rows = [
            row
            for row in self.month.get("metered", [])
            if row["meter"] == charge["meter"] and row["usage_date"] in days
        ]
        if not rows:
            return None
        free_amount = _up(Fraction(charge["free_amount"]) * free_share, self.unit)
        free_events = ceil(Fraction(charge["free_events"]) * free_share)
        amount = max(sum(Fraction(row["amount"]) for row in rows) - free_amount, Fraction(0))
        events = max(sum(int(row["events"]) for row in rows) - free_events, 0)
        return amount * Fraction(charge["rate"]) / 100 + events * Fraction(charge["fixed_amount"])

    def _on_metric(
        self, charge: dict[str, Any], plan: dict[str, Any], days: list[str], share: Fraction, mode: str
    ) -> Fraction | None:
        metric = charge["metric"]
        figures = [
            figure
            for day in self.month["usage_days"]
            if day["usage_date"] in days and (figure := _figure(day, metric)) is not None
        ]
        if not figures:
            return None
        combined = {
            "sum": sum(figures, Fraction(0)),
            "max": max(figures),
            "average": sum(figures, Fraction(0)) / len(figures),
            "latest": figures[-1],
        }[charge["aggregation"]]
        own_free = sum(Fraction(charge.get(name, 0)) for name in ("included", "free_units", "free_events"))
        free = Fraction(plan["included"].get(metric, 0)) + own_free
        free += sum(
            Fraction(discount["value"])
            for discount in self._discounts("free_quantity")
            if discount["metric"] == metric
        )
        free = _up(free * (share if mode == "included" else 1), STEPS[metric])
        quantity = max(_up(combined, STEPS[metric]) - free, Fraction(0))
        return _by_model(charge, quantity) * (share if mode == "amount" else 1)

    # After the plans -----------------------------------------------------------------------------------------------------

    def _discounts(self, kind: str) -> list[dict[str, Any]]:
        of_kind = (discount for discount in self.month["discounts"] if discount["kind"] == kind)
        return [discount for discount in of_kind if self._valid_days(discount)]

    def _valid_days(self, discount: dict[str, Any]) -> int:
        billable = {day for priced in self.month["parts"] for day in _days(priced)}
        return sum(discount["valid_from"] <= day <= (discount["valid_to"] or day) for day in billable)

    def _add_percentages(self) -> None:
        for discount in self._discounts("percentage"):
            for category, amount in self._sums(self.lines).items():
                if amount > 0:
                    taken = min(amount * Fraction(discount["value"]) / 100, amount)
                    self._add("percentage_discount", category, -taken)

    def _add_fixed(self) -> None:
        for discount in self._discounts("fixed"):
            left = {name: amount for name, amount in self._sums(self.lines).items() if amount > 0}
            whole = sum(left.values(), Fraction(0))
            exact = Fraction(discount["value"]) * self._valid_days(discount) / MONTH_DAYS
            taken = min(self.rounded(exact), whole)
            parts = {
                name: floor(taken * amount / whole / self.unit) * self.unit for name, amount in left.items()
            }
            rest = taken - sum(parts.values())
            for name in sorted(left, key=lambda name: -left[name]):
                more = min(rest, left[name] - parts[name])
                parts[name], rest = parts[name] + more, rest - more
            for name, amount in parts.items():
                self._add("fixed_discount", name, -amount)

    def _add_commitment(self) -> None:
        exact = Fraction(0)
        for priced in self.month["parts"]:
            for day in _days(priced):
                own = [
                    commitment
                    for commitment in self.month["commitments"]
                    if commitment["valid_from"] <= day <= (commitment["valid_to"] or day)
                ]
                # Of two that began on one day, which the database has no place for, the first one holds.
                amount = (
                    max(own, key=lambda commitment: commitment["valid_from"])["amount"]
                    if own
                    else priced["plan"]["prices"][self.month["currency"]]["minimum_commitment"]
                )
                exact += Fraction(amount) / MONTH_DAYS
        reached = sum((line.amount for line in self.lines), Fraction(0))
        category = self._listed(self.month["parts"][-1]["plan"]["tax"])
        self._add("commitment", category, max(exact - reached, Fraction(0)))


def _by_model(charge: dict[str, Any], quantity: Fraction) -> Fraction:
    match charge["model"]:
        case "standard":
            return quantity * Fraction(charge["unit_amount"])
        case "package":
            packages = ceil(quantity / Fraction(charge["package_size"]))
            return packages * Fraction(charge["package_amount"])
        case "percentage":
            return quantity * Fraction(charge["fixed_amount"])
        case "volume":
            tier = next(
                tier
                for tier in charge["tiers"]
                if tier["up_to"] is None or quantity <= Fraction(tier["up_to"])
            )
            return quantity * Fraction(tier["unit_amount"]) + Fraction(tier["flat_amount"])
    amount, below = Fraction(0), Fraction(0)
    for number, tier in enumerate(charge["tiers"]):
        if number and quantity <= below:
            break
        upper = quantity if tier["up_to"] is None else min(quantity, Fraction(tier["up_to"]))
        amount += (upper - below) * Fraction(tier["unit_amount"]) + Fraction(tier["flat_amount"])
        below = Fraction(tier["up_to"] or 0)
    return amount


def _figure(day: dict[str, Any], metric: str) -> Fraction | None:
    if metric == "storage_gb":
        stored = day["storage_bytes"]
        return None if stored is None else Fraction(stored, 2**30)
    figure = day[metric]
    return None if figure is None else Fraction(figure)


def _up(amount: Fraction, step: Fraction) -> Fraction:
    return ceil(amount / step) * step


def _days(priced: dict[str, Any]) -> list[str]:
    part = priced["plan_part"]["part"]
    first, last = date.fromisoformat(part["start"]), date.fromisoformat(part["end"])
    return [str(first + timedelta(days=offset)) for offset in range((last - first).days + 1)]
