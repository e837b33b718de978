"""Automata: rewards of histories, by machines and temporal logic."""
