"""What all rewards stand on: the algebra, its text form, the ways to write a term."""
