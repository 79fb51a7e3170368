"""Shared code of all packages: database, errors, settings, the registry of batches, and the execution of a run."""
