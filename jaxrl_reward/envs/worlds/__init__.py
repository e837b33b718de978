"""Small worlds of this package's own."""
