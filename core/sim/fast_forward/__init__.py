"""Fast-forward."""
