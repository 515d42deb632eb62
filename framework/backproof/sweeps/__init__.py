"""Sweeps: many runs, planned, trained in any order and place, and resumed."""
