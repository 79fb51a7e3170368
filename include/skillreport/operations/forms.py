"""The forms of all operations, by DAG."""

from __future__ import annotations

from collections.abc import Mapping

from include.skillreport.core.form import OperationForm
from include.skillreport.operations.import_payments.form import FORM as PAYMENTS
from include.skillreport.operations.offboard_tenant.form import FORM as OFFBOARDING
from include.skillreport.operations.operate_contracts.form import FORM as CONTRACTS
from include.skillreport.operations.operate_invoices.form import FORM as INVOICES
from include.skillreport.operations.operate_notifications.form import FORM as NOTIFICATIONS
from include.skillreport.operations.restore_backup.form import FORM as RESTORE
from include.skillreport.operations.undo_settings_sync.form import FORM as UNDO

FORMS: Mapping[str, OperationForm] = {
    form.spec.dag_id: form
    for form in (PAYMENTS, OFFBOARDING, CONTRACTS, INVOICES, NOTIFICATIONS, RESTORE, UNDO)
}
