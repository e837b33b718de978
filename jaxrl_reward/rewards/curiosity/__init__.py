"""Curiosity: bonuses for what is new, hard to predict, or adds to what was covered."""
