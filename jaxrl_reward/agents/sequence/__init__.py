"""Agents that write: policy gradients on groups of responses."""
