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
        "書類": (
            Explain,
            Approve,
            Void,
            Credit,
            PartCredit,
            DropCredit,
            Reissue,
            BillAgain,
            Correct,
            StopLetter,
            SendLetter,
        ),
        "明細": (ExtraLine, RemoveLine, Carry),
        "月": (HandOver,),
        "入金": (
            RecordPayment,
            ReversePayment,
            MovePayment,
            RecordRefund,
            FeeDifference,
            WriteOff,
            TakeBackAdjustment,
            ImportPayments,
        ),
        "督促": (StopReminders, AllowReminders),
    },
)
