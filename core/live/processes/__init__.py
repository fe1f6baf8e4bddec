"""Processes that always end, and the memory that they share."""
