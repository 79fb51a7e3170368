"""The recipes of docs/develop/recipes.md, followed to the letter."""
