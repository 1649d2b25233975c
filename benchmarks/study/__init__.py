"""Studies: from raw files to the papers' tables, with the project's own commands."""
