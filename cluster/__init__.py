"""Ray: start or join a cluster and map a function over batches. Knows nothing of MMUs or sweeps."""
