"""How far each batch is from the least work on the same data."""
