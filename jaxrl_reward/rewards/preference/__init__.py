"""Preference: rewards from learned models and from comparisons of episodes."""
