"""How the processes of a live run wait for each other: a fair queued lock, a barrier, and what lies below them."""
