"""How functions are compiled and kept, and what compiled code works with: records and atomic operations."""
