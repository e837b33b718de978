"""Data as agents that learn from them hold them: checked, packed, or a window at a time."""
