"""Devices and processes: where the arrays of a run lie and what runs there."""
