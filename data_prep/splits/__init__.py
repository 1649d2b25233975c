"""Whose a scan is and where it goes: patients, folds, draws."""
