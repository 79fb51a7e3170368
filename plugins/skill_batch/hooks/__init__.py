"""Hooks for the DAGs of this repository and of other teams."""
