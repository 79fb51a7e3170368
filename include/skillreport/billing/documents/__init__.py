"""Invoices and credit notes as documents: their content, their checks, and their files."""
