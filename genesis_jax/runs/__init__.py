"""What a run leaves: its folder, logs, report, cards, pictures."""
