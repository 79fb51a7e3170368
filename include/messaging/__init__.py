"""What several batches send with: outbox, sender, channels, templates, and the tenants' settings for them."""
