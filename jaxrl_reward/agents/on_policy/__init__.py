"""Agents that learn from what their present policy has just played."""
