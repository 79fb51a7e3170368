"""One module per page of the board."""
