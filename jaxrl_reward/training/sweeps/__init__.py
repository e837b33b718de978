"""Sweeps: many runs, on many workers, each done once."""
