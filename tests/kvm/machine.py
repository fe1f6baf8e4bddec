"""An emulated machine with real KVM in it: Debian's kernel and its own selftest, booted by QEMU without any hardware.

QEMU's TCG emulates an AMD CPU with SVM and nested paging, so kvm-amd runs there and maps guests through the TDP MMU.
Times mean nothing in it; counts are those of KVM. The machine sees this machine's files read-only, with an overlay for
what it writes, so it runs this very checkout with this very Python.

Packages are downloaded from Debian's archive into a folder and unpacked there; nothing is installed by it. It needs
qemu-system-x86_64, gcc, make, flex, bison, bc, rsync, cpio, depmod and apt-get.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERIES: Final = "6.12"
NEEDED: Final = (
    "qemu-system-x86_64",
    "gcc",
    "make",
    "flex",
    "bison",
    "bc",
    "rsync",
    "cpio",
    "depmod",
    "modinfo",
    "apt-get",
)
MODULES: Final = ("9pnet_virtio", "9p", "overlay", "kvm_amd")
NOT_FOR_THE_TEST: Final = ("drivers", "sound", "Documentation", "fs", "net", "samples")
MEMORY_MIB: Final = 8192  # with half of it huge pages were hard to come by after a few runs
CPUS: Final = 2
NICENESS: Final = "5"
DONE: Final = "emulated machine: command ended with"

_INIT: Final = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /host /write /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do modprobe $module || echo "no module $module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host || poweroff -f
mount -t tmpfs -o mode=755 write /write
mkdir /write/upper /write/work
mount -t overlay -o lowerdir=/host,upperdir=/write/upper,workdir=/write/work overlay /root
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t debugfs debug /root/sys/kernel/debug
mount -t tracefs tracing /root/sys/kernel/tracing
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t devpts pts /root/dev/pts
mount -t tmpfs tmp /root/run
mkdir -p /root/run/lock /root{out} /root/lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out /root{out}
mount --bind /lib/modules /root/lib/modules
hostname emulated
echo 0 > /proc/sys/kernel/panic
chroot /root /bin/sh -c 'cd {out}; sh command.sh > command.log 2>&1; echo $? > command.rc'
sync
echo "{done} $(cat /root{out}/command.rc)"
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is booted: kernel and initramfs; and the test that its kernel's source has."""

    kernel: Path
    initramfs: Path
    selftest: Path
    out: Path  # a folder that the machine can write to


def missing_programs() -> list[str]:
    """Which of the programs that this needs are not there."""
    return [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin") is None]


def prepared(folder: Path, out: Path) -> Machine:
    """The machine, from packages kept in `folder`: the first time takes some minutes and 2 GiB of it."""
    folder.mkdir(parents=True, exist_ok=True)
    release = _kernel_release()
    image = _unpacked(folder, f"linux-image-{release}")
    busybox = _unpacked(folder, "busybox-static")
    selftest = _built_selftest(folder)
    return Machine(image / f"boot/vmlinuz-{release}", _initramfs(folder, image, busybox, release, out), selftest, out)


def run_in(machine: Machine, script: str, timeout_s: int) -> str:
    """Boot, run a shell script with `out` as its folder, power off; what it printed. Raises if it failed."""
    for name in ("command.log", "command.rc", "console.log"):
        (machine.out / name).unlink(missing_ok=True)
    (machine.out / "command.sh").write_text(script)
    shares = (("host", "/", ",readonly=on"), ("out", str(machine.out), ""))
    options = [
        ("-machine", "q35"),
        ("-accel", "tcg,thread=single"),  # a thread per CPU may see code half patched by the kernel
        ("-cpu", "EPYC,svm=on,npt=on"),
        ("-m", f"{MEMORY_MIB}M"),
        ("-smp", str(CPUS)),
        ("-kernel", str(machine.kernel)),
        ("-initrd", str(machine.initramfs)),
        ("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check"),
        *(
            ("-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{ro}")
            for tag, path, ro in shares
        ),
    ]
    command = [
        "nice",
        "-n",
        NICENESS,
        "qemu-system-x86_64",
        "-nographic",
        "-no-reboot",
        "-nodefaults",
        "-serial",
        "stdio",
    ]
    command += [word for option in options for word in option]
    with open(machine.out / "console.log", "w") as console:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=timeout_s, check=True)
    printed = (
        (machine.out / "command.log").read_text(errors="replace") if (machine.out / "command.log").exists() else ""
    )
    if f"{DONE} 0" not in (machine.out / "console.log").read_text(errors="replace"):
        raise RuntimeError(f"the command in the emulated machine failed:\n{printed[-4000:]}")
    return printed


def _kernel_release() -> str:
    """The newest kernel of the series in Debian's archive, as its package names it."""
    found = _output(["apt-cache", "depends", f"linux-image-{SERIES}-amd64"])
    names = [word.removeprefix("linux-image-") for word in found.split() if word.startswith(f"linux-image-{SERIES}.")]
    return names[0]


def _unpacked(folder: Path, package: str) -> Path:
    """The files of a Debian package."""
    place = folder / package
    if not place.exists():
        _run(["apt-get", "download", package], folder)
        (file,) = folder.glob(f"{package}_*.deb")
        _run(["dpkg-deb", "-x", str(file), str(place)], folder)
    return place


def _built_selftest(folder: Path) -> Path:
    """dirty_log_perf_test, built statically from the source of the series."""
    built = folder / "selftest" / "dirty_log_perf_test"
    if built.exists():
        return built
    package = _unpacked(folder, f"linux-source-{SERIES}")
    source = folder / f"linux-source-{SERIES}-tree"
    if not source.exists():
        with tarfile.open(package / f"usr/src/linux-source-{SERIES}.tar.xz") as archive:
            members = (
                item for item in archive if item.name.split("/")[1:2] not in [[name] for name in NOT_FOR_THE_TEST]
            )
            archive.extractall(source, members, filter="fully_trusted")
    tree = source / f"linux-source-{SERIES}"
    kept = [f"{name}/Kconfig" for name in NOT_FOR_THE_TEST]
    for name in kept:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    _run(["make", "headers"], tree)
    _run(["make", "-C", "tools/testing/selftests/kvm", f"OUTPUT={built.parent}", "LDFLAGS=-static", str(built)], tree)
    return built


def _initramfs(folder: Path, image: Path, busybox: Path, release: str, out: Path) -> Path:
    """A root with busybox, the kernel's modules and an init that runs the script."""
    root = folder / "initramfs"
    shutil.rmtree(root, ignore_errors=True)
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox / "bin/busybox", root / "bin/busybox")
    modules = Path("lib/modules") / release
    for file in _with_dependencies(image / modules, MODULES):
        (root / modules).mkdir(parents=True, exist_ok=True)
        (root / modules / file.name.removesuffix(".xz")).write_bytes(lzma.decompress(file.read_bytes()))
    for file in (image / modules).glob("modules.[bo]*"):  # of what is built in, and the order
        shutil.copy(file, root / modules)
    _run(["depmod", "-b", str(root), release], folder)
    init = root / "init"
    init.write_text(_INIT.format(modules=" ".join(MODULES), out=out, done=DONE))
    init.chmod(0o755)
    packed = folder / "initramfs.cpio"
    _run(["sh", "-c", f"find . | cpio --quiet -o -H newc > {packed}"], root)
    return packed


def _with_dependencies(folder: Path, modules: Sequence[str]) -> set[Path]:
    """The files of modules and of those that they need."""
    files = {file.name.split(".")[0].replace("-", "_"): file for file in folder.rglob("*.ko*")}
    found: set[Path] = set()
    left = list(modules)
    while left:
        file = files.get(left.pop().replace("-", "_"))
        if file is not None and file not in found:
            found.add(file)
            left += [name for name in _output(["modinfo", "-F", "depends", str(file)]).strip().split(",") if name]
    return found


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(["nice", *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
