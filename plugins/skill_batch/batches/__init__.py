"""Sensors, steps and form fields that only one batch uses."""
