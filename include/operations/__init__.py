"""Manual operations on the results of the batches. Each group of operations has a DAG, a form and a module.

These functions import the module when a task calls them, so that a DAG file parses quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.billing.service import OffersBilling
    from include.execution.installation import Installation
    from include.messaging.service import OffersNotifications
    from include.operations.approve_directory_changes import DirectoryApproval
    from include.operations.approve_invoices import InvoiceApproval
    from include.operations.operate_invoices import InvoiceOperations
    from include.operations.operate_notifications import NotificationOperations
    from include.operations.restore_backup import BackupRestore
    from include.operations.undo_settings_sync import SettingsSyncUndo


def invoice_operations(installation: OffersBilling) -> InvoiceOperations:
    """Explain, approve, void, credit and reissue invoices."""
    from include.operations.operate_invoices import InvoiceOperations

    return InvoiceOperations(installation.billing())


def invoice_approval(installation: OffersBilling) -> InvoiceApproval:
    """Finalise the held invoices that a person has approved."""
    from include.operations.approve_invoices import InvoiceApproval

    return InvoiceApproval(installation.billing())


def directory_approval(_: Installation) -> DirectoryApproval:
    """Apply the held directory changes that a person has approved."""
    from include.operations.approve_directory_changes import DirectoryApproval
    from include.settings import load_settings

    settings = load_settings()
    return DirectoryApproval(settings.external_sync, settings.notification)


def notification_operations(installation: OffersNotifications) -> NotificationOperations:
    """List, resend, discard and mark messages, and reopen channels."""
    from include.operations.operate_notifications import NotificationOperations

    return NotificationOperations(installation.notifications())


def backup_restore(installation: Installation) -> BackupRestore:
    """Restore tenants or the whole database from a backup."""
    from include.data_management.data_backup.access import BackupAccess
    from include.operations.restore_backup import BackupRestore
    from include.settings import load_settings

    return BackupRestore(BackupAccess(load_settings().backup, installation))


def settings_sync_undo(_: Installation) -> SettingsSyncUndo:
    """Undo the changes of a run of BATCH-018-05."""
    from include.operations.undo_settings_sync import SettingsSyncUndo
    from include.tenant_management.settings_sync.plan_settings import load_plan_settings

    return SettingsSyncUndo(load_plan_settings())
