"""Cost profiles, the laws that turn one into the costs of a config, and the intervals of predicted times."""
