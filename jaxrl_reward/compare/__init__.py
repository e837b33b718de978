"""Comparing rewards: as tasks, exactly or from samples."""
