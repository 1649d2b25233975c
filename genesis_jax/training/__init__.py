"""Steps, losses, optimisers and the loop."""
