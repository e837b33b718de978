"""Objectives: vectors of rewards made one number, and functionals of the return."""
