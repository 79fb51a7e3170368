"""The accountant's actions on a month's invoices: each with its fields, its effect and its work.

DAG files import the actions, so these load the database driver only in their work. Only tasks import ``entered``.
"""
