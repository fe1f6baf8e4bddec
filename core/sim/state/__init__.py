"""What a simulation keeps while a phase runs: its actors, their lock, and the queue of coming events."""
