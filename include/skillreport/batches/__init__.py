"""The 14 batches, a package each. No batch imports another."""
