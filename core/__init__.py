"""The MMU engine: configuration, page tables, MMU operations, engines and cost profiles. Knows nothing above it."""
