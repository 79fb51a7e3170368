"""Hooks that this repository's DAGs, and other teams' DAGs, use."""
