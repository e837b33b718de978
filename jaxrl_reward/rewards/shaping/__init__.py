"""Shaping: potentials that guide, and credit for a return that comes late."""
