"""The simulator: vCPUs and the ioctl thread as actors on a virtual clock of integer picoseconds."""
