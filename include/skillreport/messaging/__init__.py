"""Messaging, shared by several batches: outbox, sender, channels, templates, and the tenants' settings."""
