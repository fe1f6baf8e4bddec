"""The live engine's ground: processes of this host that share one memory segment, a lock and barriers in it."""
