"""Receivables: due dates, payments, ages and reminders. Pure; the rows are in ``ledger``."""
