"""Messaging of the batches: outbox, sender, channels, templates and the tenants' settings."""
