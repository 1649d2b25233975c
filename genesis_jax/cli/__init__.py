"""Command lines: one parser, one way to tell what is wrong with an option."""
