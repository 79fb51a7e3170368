"""What every room needs: database, errors, settings, the registry of batches, and the execution of a run."""
