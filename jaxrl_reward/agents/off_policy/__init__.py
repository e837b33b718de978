"""Agents that learn from replay."""
