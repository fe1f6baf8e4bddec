"""The live engine: every vCPU is a process of this host, and mmu_lock a lock in the memory that they share."""
