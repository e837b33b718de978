"""Agents that learn from fixed data."""
