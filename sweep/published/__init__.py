"""Published measurements: timings of real hosts, as data, and how they are read."""
