"""The accountant's operations on invoices, in the order of the form. The DAG file imports this module."""

from __future__ import annotations

from include.skillreport.billing.actions.adjustments import FeeDifference, TakeBackAdjustment, WriteOff
from include.skillreport.billing.actions.correct import Correct
from include.skillreport.billing.actions.credits import Credit, DropCredit, PartCredit
from include.skillreport.billing.actions.hand_over import HandOver
from include.skillreport.billing.actions.letters import SendLetter, StopLetter
from include.skillreport.billing.actions.lines import Carry, ExtraLine, RemoveLine
from include.skillreport.billing.actions.payments import (
    ImportPayments,
    MovePayment,
    RecordPayment,
    RecordRefund,
    ReversePayment,
)
from include.skillreport.billing.actions.reminders import AllowReminders, StopReminders
from include.skillreport.billing.actions.settle import Approve, BillAgain, Reissue
from include.skillreport.billing.actions.void import Explain, Void
from include.skillreport.core.form import OperationForm
from include.skillreport.core.operation_catalog import OPERATE_INVOICES

FORM = OperationForm(
    OPERATE_INVOICES,
    {
        "内訳を見る・承認する": (Explain, Approve),
        "取り消す・返還する・訂正する": (Void, Credit, PartCredit, DropCredit, Reissue, BillAgain, Correct),
        "送付を停止・再開する": (StopLetter, SendLetter),
        "明細を加える・取り消す": (ExtraLine, RemoveLine, Carry),
        "会計データを確定する": (HandOver,),
        "入金・返金を記録する": (RecordPayment, ReversePayment, MovePayment, RecordRefund, ImportPayments),
        "手数料差額・貸倒れを記録する": (FeeDifference, WriteOff, TakeBackAdjustment),
        "督促を止める・再開する": (StopReminders, AllowReminders),
    },
)
