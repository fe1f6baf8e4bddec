"""The MMU operations: faults, splits, write-protection and the dirty log, over flat arrays shared by all engines."""
