"""Fast-forward: what repeats itself is not simulated again; the result is the same, bit for bit.

The simulation is deterministic, so a simulation that stands as it stood before, only later and further on, and finds
the same memory before it, does the same again. Nothing here knows what a fault does. The words:

chunk       512 pages of guest memory. What is kept about them is a block (core/mmu/block.py), which all chunks in the
            same state share: comparing two chunks is comparing two numbers.
period      so many pages of a pass that a vCPU may do again what it did: whole chunks, and whole periods of the write
            pattern (core/sim/engine.py, `period_of`). In an ioctl: so many chunks that the dirty bitmap may repeat.
mark        where a vCPU stops for a moment, a period apart: the place to compare (marks.py).
standing    how all actors stand at a moment: their events, the lock, and what was counted so far (standing.py).
alone       a vCPU that got from one mark to the next without the lock skips by itself; else all skip together, where
            all stand at a mark of vCPU 0 as they stood at its mark before.
alike       two chunks, blocks or standings that differ in nothing that decides what comes next.
repetition  as many further periods as find memory alike (periods.py): they are skipped, what one of them counted is
            counted so often, and each chunk is left in the state in which its counterpart was left.
unit        512 pages of an ioctl's walk, done once for all that find the same (units.py).
"""
