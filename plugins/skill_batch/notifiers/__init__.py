"""Notifiers. They run where ``include`` may not be importable (triggerer), and must not import it."""
