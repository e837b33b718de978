"""Are two rewards the same task, and how different, exactly."""
