"""The main thread of a program, stopped at each of its system calls: what it writes is seen before it goes on.

The test prints a line when a phase has ended, and the next one begins after that. Stopped there, with its vCPUs waiting
for the next pass, counters can be read that belong to that phase exactly. The threads of the vCPUs are not traced.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core.kvm.errors import SelftestError

WRITE: Final = 1
IOCTL: Final = 16

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_TRACEME, _GET_REGISTERS, _CONTINUE_TO_SYSCALL, _SET_OPTIONS = 0, 12, 24, 0x4200
_STOPS_AT_SYSCALLS_AND_DIES_WITH_US: Final = 0x1 | 0x100000  # TRACESYSGOOD, EXITKILL
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80

_Registers = ctypes.c_ulonglong * 27  # struct user_regs_struct of x86-64
_RDX, _RSI, _RDI, _ORIG_RAX = 12, 13, 14, 15


@dataclass(frozen=True, slots=True)
class Call:
    """A system call of the tracee: its number and first three arguments, at its entry or at its return."""

    pid: int
    number: int
    arguments: tuple[int, int, int]
    returned: bool

    def memory(self, address: int, size: int) -> bytes:
        """So many bytes of the tracee's memory."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            return file.read(size)


def trace(command: Sequence[str], at_call: Callable[[Call], None], stdout: int) -> int:
    """Run a program with `at_call` at each system call of its main thread; returns its exit code.

    Raises SelftestError where programs may not be traced.
    """
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stdout, start_new_session=True, preexec_fn=_trace_me
    )
    status = os.waitpid(program.pid, 0)[1]
    _ptrace(_SET_OPTIONS, program.pid, ctypes.c_void_p(_STOPS_AT_SYSCALLS_AND_DIES_WITH_US))
    inside = False
    try:
        while os.WIFSTOPPED(status):
            stopped_by = os.WSTOPSIG(status)
            if stopped_by == _SYSCALL_STOP:
                inside = not inside
                at_call(_call(program.pid, returned=not inside))
            passed_on = 0 if stopped_by in (_SYSCALL_STOP, signal.SIGTRAP) else stopped_by
            _ptrace(_CONTINUE_TO_SYSCALL, program.pid, ctypes.c_void_p(passed_on))
            status = os.waitpid(program.pid, 0)[1]
    except BaseException:
        os.killpg(program.pid, signal.SIGKILL)
        os.waitpid(program.pid, 0)
        raise
    finally:
        program.returncode = os.waitstatus_to_exitcode(status) if not os.WIFSTOPPED(status) else -signal.SIGKILL
    return program.returncode


def _trace_me() -> None:
    _LIBC.ptrace(_TRACEME, 0, None, None)


def _ptrace(request: int, pid: int, data: ctypes.c_void_p) -> None:
    if _LIBC.ptrace(request, pid, None, data) == -1:
        raise SelftestError(f"the test cannot be traced: {os.strerror(ctypes.get_errno())}")


def _call(pid: int, *, returned: bool) -> Call:
    registers = _Registers()
    _ptrace(_GET_REGISTERS, pid, ctypes.cast(registers, ctypes.c_void_p))
    arguments = (registers[_RDI], registers[_RSI], registers[_RDX])
    return Call(pid, registers[_ORIG_RAX], arguments, returned)
