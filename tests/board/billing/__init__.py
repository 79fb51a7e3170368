"""The pages about money on one world of invoices."""
