"""What agents are made of: playing, storing, returns, shared settings."""
