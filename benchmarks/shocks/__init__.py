"""What a bad day brings: each shock is a bounded program that loses nothing, doubles nothing, and stays small."""
