"""Groups: rewards of episodes beside those of the same prompt."""
