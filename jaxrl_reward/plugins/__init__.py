"""What users bring: whose a definition is, what is imported, and who vouches for it."""
