"""Experiments: a paper's claim as data, run, and judged."""
