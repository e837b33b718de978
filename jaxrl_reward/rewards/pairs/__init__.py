"""Pairs: losses of responses of which one was preferred."""
