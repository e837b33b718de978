"""Networks that keep learning: optimisers that keep weights small or still, and what tells."""
