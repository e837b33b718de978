"""Networks and what they compute with: pairs of pure functions."""
