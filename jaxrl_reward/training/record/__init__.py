"""What a run leaves behind: its folder, rows, checkpoints, result and report."""
