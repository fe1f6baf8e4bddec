"""Showing results: tables, charts, and one config explained."""
