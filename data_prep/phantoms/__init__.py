"""Drawn patients in the layouts of real sources."""
