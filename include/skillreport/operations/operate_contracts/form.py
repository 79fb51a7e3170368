"""The operations on contracts: the data that invoices depend on beside the price list. The DAG file imports this module."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import NOTHING_YET, OF_A_FILE, Operation, OperationForm, Shows
from include.skillreport.core.operation_catalog import OPERATE_CONTRACTS
from include.skillreport.operations.operate_contracts import fields

FORM = OperationForm(OPERATE_CONTRACTS)


@FORM.add("set_profile", "請求先の変更")
class SetProfile(Operation):
    """請求先を、入力したとおりにします。空欄の項目は、アプリか設定の値になります。宛名、税区分、国が変わるか、新しい送付先があれば、承認を待ちます。"""

    mail = "登録から外れる宛先があれば、変更をメールで知らせます。"
    shows = Shows("contracts")

    tenants: fields.Tenants
    recipient_name: fields.RecipientName = ""
    department: fields.Department = ""
    honorific: fields.Honorific = ""
    postal_code: fields.PostalCode = ""
    address: fields.Address = ""
    country: fields.Country = ""
    email: fields.Email = ""
    further_emails: fields.FurtherEmails = ()
    cc_emails: fields.CcEmails = ()
    language: fields.Language = ""
    currency: fields.Currency = ""
    tax_category: fields.TaxCategory = ""
    partner_code: fields.PartnerCode = ""
    pdf_delivery: fields.PdfDelivery = ""
    due_months: fields.DueMonths | None = None
    due_day: fields.DueDay | None = None
    reason: fields.Reason

    def check(self, _: date, /) -> None:
        require_one_tenant(self.tenants)
        if (self.due_months is None) != (self.due_day is None):
            raise ParameterError(
                "「期限の月」（due_months）と「期限の日」（due_day）は、両方とも書くか、両方とも空欄にしてください。"
            )
        if sum(map(len, self.copies().values())) > _MOST_COPIES:
            raise ParameterError(
                f"「追加の送付先」（further_emails）と「Cc」（cc_emails）は、合わせて {_MOST_COPIES} 件までです。減らしてください。"
            )

    def copies(self) -> dict[str, list[str]]:
        """The further and Cc recipients, by field, without duplicates (regardless of capitals). The first occurrence stays."""
        seen = {self.email.lower()}
        found: dict[str, list[str]] = {"further_emails": [], "cc_emails": []}
        for name, addresses in found.items():
            for address in getattr(self, name):
                if address.lower() not in seen:
                    seen.add(address.lower())
                    addresses.append(address)
        return found


@FORM.add("set_plan", "プランの登録・訂正")
class SetPlan(Operation):
    """テナントのプランの履歴に、この日からのプランを加えます。初日が同じ登録があれば直します。アプリのプランが変わると、自動でも加わります。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    plan: fields.Plan = ""
    plan_from: fields.PlanFrom
    is_checked: fields.IsChecked = False
    reason: fields.Reason

    def check(self, today: date, /) -> None:
        _require_near(self.plan_from, today, self.is_checked)


@FORM.add("set_discount", "割引の登録・訂正")
class SetDiscount(Operation):
    """割引を登録します。名前と初日が同じ割引があれば直します。30 % 以上か大きな額なら、承認を待ちます。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    discount_name: fields.DiscountName
    discount_kind: fields.DiscountKind
    value: fields.DiscountValue
    currency: fields.Currency = ""
    metric: fields.MetricName = ""
    valid_from: fields.ValidFrom
    valid_to: fields.ValidTo | None = None
    is_checked: fields.IsChecked = False
    reason: fields.Reason

    def check(self, today: date, /) -> None:
        _require_period(self.valid_from, self.valid_to)
        _require_near(self.valid_from, today, self.is_checked)
        if self.discount_kind == "percentage" and self.value > 100:
            raise ParameterError("「割引の値」（value）は、率なら 100 までです。")
        for name, given, kind in (("通貨", self.currency, "fixed"), ("指標", self.metric, "free_quantity")):
            if bool(given) != (self.discount_kind == kind):
                needed = "必要です" if not given else "使いません"
                raise ParameterError(
                    f"「{name}」は、割引の種類「{fields.DISCOUNT_KINDS[self.discount_kind]}」では{needed}。"
                )


@FORM.add("set_commitment", "最低利用料金の登録・訂正")
class SetCommitment(Operation):
    """テナントの最低利用料金を登録します。初日が同じものがあれば、入力した値に直します。プランの最低額の代わりになります。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    amount: fields.CommitmentAmount
    currency: fields.Currency
    valid_from: fields.ValidFrom
    valid_to: fields.ValidTo | None = None
    is_checked: fields.IsChecked = False
    reason: fields.Reason

    def check(self, today: date, /) -> None:
        _require_period(self.valid_from, self.valid_to)
        _require_near(self.valid_from, today, self.is_checked)


@FORM.add("set_order_number", "注文番号の登録・訂正")
class SetOrderNumber(Operation):
    """取引先の注文番号を登録します。対象月の末日に有効な番号が、請求書に印刷されます。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    order_number: fields.OrderNumber
    valid_from: fields.ValidFrom
    valid_to: fields.ValidTo | None = None
    is_checked: fields.IsChecked = False
    reason: fields.Reason

    def check(self, today: date, /) -> None:
        _require_period(self.valid_from, self.valid_to)
        _require_near(self.valid_from, today, self.is_checked)


@FORM.add("end", "契約の終了")
class End(Operation):
    """割引、最低利用料金か注文番号を、最後の日で終わらせます。初日より前の日なら、登録を取り消します。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    ended: fields.Ended
    discount_name: fields.DiscountName = ""
    valid_from: fields.ValidFrom
    last_day: fields.LastDay
    reason: fields.Reason

    def check(self, _: date, /) -> None:
        if (self.ended == "discount") != bool(self.discount_name):
            raise ParameterError(
                "「割引の名前」（discount_name）は、割引を終わらせるときだけ、必ず書いてください。"
            )


@FORM.add("set_rate", "為替レートの登録・訂正")
class SetRate(Operation):
    """通貨のその日のレートを登録します。同じ日のレートがあれば直します。前のレートと大きく違えば、承認を待ちます。"""

    shows = Shows("rates", tenants=False)

    currency: fields.Currency
    rate_date: fields.RateDate
    yen_per_unit: fields.YenPerUnit
    reason: fields.Reason

    def check(self, today: date, /) -> None:
        if self.currency == "JPY":
            raise ParameterError(
                "「通貨」（currency）の JPY にはレートがありません。外貨を指定してください。"
            )
        if self.rate_date > today:
            raise ParameterError(f"「レートの日」（rate_date）の {self.rate_date} は、まだ来ていません。")


@FORM.add("add_payer", "振込名義の登録")
class AddPayer(Operation):
    """銀行の振込名義をテナントの名義として登録します。承認を待ちます。削除するには DAG import_payments の「登録名義の削除」です。"""

    shows = Shows("contracts")

    tenants: fields.Tenants
    payer_name: fields.PayerName
    payer_code: fields.PayerCode = ""
    reason: fields.Reason


@FORM.add("withdraw", "承認待ちの変更の取り下げ")
class Withdraw(Operation):
    """承認を待っている変更を取り下げます。入力した値は消えます。"""

    unchanged = "契約は、今の登録のままです。"
    shows = Shows(ids=("changes",), tenants=False)

    changes: fields.Changes
    reason: fields.Reason


@FORM.add("import_file", "ファイルの取込み")
class ImportFile(Operation):
    """CSV の全行を確認して登録します。誤りがあれば何も変えません。承認の必要な行があれば、ファイル全体（レートはその行）が待ちます。"""

    unchanged = OF_A_FILE
    shows = NOTHING_YET

    imported_kind: fields.ImportedKind
    imported_file: fields.ImportedFile
    is_checked: fields.IsChecked = False
    reason: fields.Reason


@FORM.add("export_files", "ファイルへの書き出し")
class ExportFiles(Operation):
    """登録のすべてを、種類ごとの CSV にして、保存先の contracts/exported/ に書きます。取込みと同じ形です。"""

    unchanged = "登録は変わりません。ファイルを書くだけです。"
    shows = NOTHING_YET


# More addresses need a mailing list, which the customer maintains. The table has the same limit.
_MOST_COPIES = 10

_YEAR = timedelta(days=366)


def require_one_tenant(tenants: Sequence[object]) -> None:
    """Check a profile's tenants (codes or tenants). :raises ParameterError: there are none or several."""
    if len(tenants) != 1:
        raise ParameterError(
            "「テナントコード」（tenants）に、1 つのテナントだけを指定してください。請求先の全項目を置き換えます。"
        )


def _require_period(first: date, last: date | None) -> None:
    """Check the period. :raises ParameterError: the last day is before the first day."""
    if last is not None and last < first:
        raise ParameterError(f"「末日」（valid_to）の {last} が「初日」（valid_from）の {first} より前です。")


def _require_near(first: date, today: date, is_checked: bool) -> None:
    """Check the first day. :raises ParameterError: it is over a year ahead, often a typing mistake, and the user has not confirmed it."""
    if first > today + _YEAR and not is_checked:
        raise ParameterError(
            f"初日の {first} は 1 年より先です。年を確かめて、正しければ「確かめた」（is_checked）を選んでください。"
        )
