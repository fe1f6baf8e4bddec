"""A sweep that is run every night: measured, compared with what was, judged, and told."""
