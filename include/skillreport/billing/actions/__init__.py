"""The accountant's actions on a month's invoices.

DAG files import the actions, so they import the database driver only when they run. Only tasks import ``entered``.
"""
