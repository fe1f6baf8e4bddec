"""A dataset as one page that works offline: tables, charts that answer clicks, and whose numbers they are."""
