"""Imitation: rewards from an expert's demonstrations."""
