"""The accountant's actions on a month's invoices: each with its fields, its effect and its work.

DAG files import the actions, so they import the database driver only when they run. Only tasks import ``entered``.
"""
