"""Agents that optimise the law of the return."""
