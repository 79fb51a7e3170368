"""The operations on banks' files and their transfers: texts and fields. The DAG file imports this module."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer

from include.skillreport.billing.actions.fields import IsOther
from include.skillreport.core.entered import plain
from include.skillreport.core.form import NOTHING_YET, OF_A_FILE, Operation, OperationForm, Shows
from include.skillreport.core.form_fields import Codes, Flag, Lines, ReasonField
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS

FORM = OperationForm(IMPORT_PAYMENTS)

# Ends the line of a transfer from which the payer's bank kept a fee.
FEE = "手数料"


class ConfirmedTransfer(NamedTuple):
    """A transfer, and the numbers of its invoices, in the order of payment. ``has_fee``: the rest of the last one is a fee."""

    transfer_id: str
    numbers: tuple[str, ...]
    has_fee: bool = False

    def entered(self) -> str:
        """The line in the form: ``T261127-0123456789ab=INV-2026-10-001,INV-2026-10-002,手数料``."""
        named = ",".join((*self.numbers, *([FEE] if self.has_fee else [])))
        return f"{self.transfer_id}={named}" if named else self.transfer_id


class _ConfirmedTransfers(Lines):
    example = ("T261127-0123456789ab=INV-2026-10-001",)

    def read_line(self, line: Any) -> ConfirmedTransfer:
        transfer_id, begun, numbers = plain(super().read_line(line)).partition("=")
        named = [each.strip() for each in numbers.replace("、", ",").split(",") if each.strip()]
        has_fee = named[-1:] == [FEE]
        named = named[:-1] if has_fee else named
        if begun and transfer_id.strip() and not named and not has_fee:
            raise ValueError(
                f"の振込 {transfer_id.strip()[:40]} に、請求書がありません。未入金の請求書を選ぶか、番号を入力してください。"
            )
        if not transfer_id.strip() or not named or FEE in named or len(set(named)) < len(named):
            raise ValueError(
                f"の {str(line)[:80]!r} が読めません。「振込ID=請求書番号」で、1 行に 1 件書いてください。複数の請求書は「,」で区切り、"
                f"手数料が引かれた振込は最後に「,{FEE}」を付けます。"
            )
        return ConfirmedTransfer(transfer_id.strip(), tuple(named), has_fee)


class _SameTransfers(_ConfirmedTransfers):
    def read_line(self, line: Any) -> ConfirmedTransfer:
        if "=" in plain(str(line)):
            return super().read_line(line)
        return ConfirmedTransfer(plain(Lines.read_line(self, line)), ())


Confirmed = Annotated[
    tuple[Annotated[ConfirmedTransfer, PlainSerializer(ConfirmedTransfer.entered)], ...],
    _ConfirmedTransfers(
        "振込と請求書",
        f"1 行に 1 件。「振込ID=請求書番号」。複数の請求書は「,」で区切り、手数料が引かれた振込は最後に「,{FEE}」。",
    ),
]
OnlyOnce = Annotated[
    bool,
    Flag(
        "名義を登録しない",
        "この振込名義を、次からこのテナントの名義として扱いません（代わりに払った会社など）。",
    ),
]
Transfers = Annotated[
    tuple[str, ...], Codes("振込ID", "1 行に 1 件。", example=("T261127-0123456789ab",), is_target=True)
]
SameTransfers = Annotated[
    tuple[Annotated[ConfirmedTransfer, PlainSerializer(ConfirmedTransfer.entered)], ...],
    _SameTransfers(
        "記録済みの振込",
        "1 行に 1 件。「振込ID」。候補が複数なら「振込ID=請求書番号」で、入金のある請求書を選びます。",
    ),
]
Uploaded = Annotated[
    tuple[str, ...],
    Lines(
        "すぐに読むファイル",
        "置いてから 1 分待たずに読むファイルの名前（アップロードしたファイルは、ボードが入れます）。1 行に 1 件。",
        example=("20261127-0a1b2c3d.txt",),
    ),
]
Reason = Annotated[str, ReasonField(example="預金利息")]
Payers = Annotated[
    tuple[str, ...],
    Codes("名義のID", "1 行に 1 件。", example=("9f0c7d1e-7c1b-4d55-8a5e-3f1d2b6a9c10",), is_target=True),
]


@FORM.add("import", "銀行のファイルの取込み")
class ImportFiles(Operation):
    """保存先の bank-files/incoming/ にある銀行のファイルを読み、名義と金額が確かな振込を入金として記録します。ほかは確定待ちになります。"""

    unchanged = OF_A_FILE
    shows = NOTHING_YET

    uploaded: Uploaded = ()


@FORM.add("confirm", "消込の確定", button="確定")
class Confirm(Operation):
    """振込を、指定した請求書の入金として記録し、振込名義をそのテナントの名義として登録します。"""

    shows = Shows(ids=("transfers",), tenants=False)

    transfers: Confirmed
    only_once: OnlyOnce = False
    is_other: IsOther = False


@FORM.add("same_payment", "記録済みの入金と同じ", button="同じ入金")
class SamePayment(Operation):
    """手で記録した入金が、この振込だったことにします。入金は増えません。振込名義を登録します。"""

    unchanged = "入金も未入金の額も変わりません。振込は確定待ちから外れます。"
    shows = Shows(ids=("same_transfers",), tenants=False)

    same_transfers: SameTransfers
    only_once: OnlyOnce = False


@FORM.add("set_aside", "対象外にする", button="対象外")
class SetAside(Operation):
    """取引先の入金ではない振込を、確定待ちから外します。帳簿には何も入りません。"""

    unchanged = "未入金の額は変わりません。振込は確定待ちから外れます。"
    shows = Shows(ids=("transfer_ids",), tenants=False)

    transfer_ids: Transfers
    reason: Reason


@FORM.add("reopen", "対象外の取り消し", button="対象に戻す")
class ReopenTransfer(Operation):
    """対象外にした振込を、確定待ちに戻します。"""

    unchanged = "未入金の額は変わりません。振込は確定待ちに戻ります。"
    shows = Shows(ids=("transfer_ids",), tenants=False)

    transfer_ids: Transfers


@FORM.add("forget_payers", "登録名義の削除", button="削除")
class ForgetPayers(Operation):
    """登録済み名義を削除します。次の振込から確定待ちになります。記録した入金は変わりません。"""

    unchanged = "記録した入金は変わりません。登録済み名義だけが消えます。"
    shows = Shows(ids=("payers",), tenants=False)

    payers: Payers
