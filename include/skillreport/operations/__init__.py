"""Manual operations on the results of the batches. Each group of operations has a DAG, a form and a module.

These functions import the module when a task calls them, so that a DAG file parses quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.messaging.service import OffersNotifications
    from include.skillreport.operations.approve_directory_changes import DirectoryApproval
    from include.skillreport.operations.approve_invoices import InvoiceApproval
    from include.skillreport.operations.operate_invoices import InvoiceOperations
    from include.skillreport.operations.operate_notifications import NotificationOperations
    from include.skillreport.operations.restore_backup import BackupRestore
    from include.skillreport.operations.undo_settings_sync import SettingsSyncUndo


def invoice_operations(installation: OffersBilling) -> InvoiceOperations:
    """Explain, approve, void, credit and reissue invoices."""
    from include.skillreport.operations.operate_invoices import InvoiceOperations

    return InvoiceOperations(installation.billing().check_terms())


def invoice_approval(installation: OffersBilling) -> InvoiceApproval:
    """Finalise the held invoices that a person has approved."""
    from include.skillreport.operations.approve_invoices import InvoiceApproval

    return InvoiceApproval(installation.billing().check_terms())


def directory_approval(_: Installation) -> DirectoryApproval:
    """Apply the held directory changes that a person has approved."""
    from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
    from include.skillreport.messaging.settings import NotificationSettings
    from include.skillreport.operations.approve_directory_changes import DirectoryApproval

    return DirectoryApproval(ExternalSyncSettings.load(), NotificationSettings.load())


def notification_operations(installation: OffersNotifications) -> NotificationOperations:
    """List, resend, discard and mark messages, and reopen channels."""
    from include.skillreport.operations.operate_notifications import NotificationOperations

    return NotificationOperations(installation.notifications())


def backup_restore(installation: Installation) -> BackupRestore:
    """Restore tenants or the whole database from a backup."""
    from include.skillreport.batches.data_backup.access import BackupAccess
    from include.skillreport.batches.data_backup.settings import BackupSettings
    from include.skillreport.operations.restore_backup import BackupRestore

    return BackupRestore(BackupAccess(BackupSettings.load(), installation))


def settings_sync_undo(_: Installation) -> SettingsSyncUndo:
    """Undo the changes of a run of BATCH-018-05."""
    from include.skillreport.batches.settings_sync.plan_settings import load_plan_settings
    from include.skillreport.operations.undo_settings_sync import SettingsSyncUndo

    return SettingsSyncUndo(load_plan_settings())
