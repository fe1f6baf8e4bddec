"""vCPUs that run while the ioctls do: every actor meets every other one at mmu_lock, in memory, and by interrupts.

The loop (loop.py) knows three kinds of meeting. At mmu_lock (core/sim/state/lock.py) the vCPUs' faults and the ioctl
thread (thread.py) queue for one another. In memory the thread changes entries in units of 512 pages, each unit at its
beginning; a vCPU (guest.py) runs ahead to the thread's next event and no further. And a flush of the TLBs, or a get
that wants the PML buffers, interrupts every vCPU that is in the guest.

Each vCPU passes over its share again and again, and goes on where it was when the next ioctl comes. What it did is kept
over time (timeline.py), because the question is not how long an ioctl takes, but what the guest feels of it.
"""
