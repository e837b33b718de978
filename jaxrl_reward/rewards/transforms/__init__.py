"""Terms that change a reward: scaled, bounded, normalised, corrupted, made pessimistic."""
