"""The accountant's actions on a month's invoices: each with its fields, its effect and its work.

DAG files import this package, so a module loads the database driver only in the work of an action.
"""
