"""What everything that runs promises, for each batch and each operation."""
