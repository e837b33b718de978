"""Whole laws of returns, and what is optimal for any functional of them."""
