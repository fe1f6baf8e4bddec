"""Evidence: measured timings, profiles fitted to them, and predictions held against them."""
