"""Worlds of tests: rows, files and settings with which tests, benchmarks and the contract begin, and the database that they share."""
