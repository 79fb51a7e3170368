"""The recipes of docs/developing.md, followed to the letter."""
