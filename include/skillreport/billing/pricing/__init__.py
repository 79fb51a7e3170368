"""The price list, and the calculation of an invoice. Pure."""
