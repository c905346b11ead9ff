"""Changes to files by a process and its children, counted by the kernel, of which one can be made to fail or to kill.

The kernel asks a supervisor (seccomp's user notification, Linux 5.5 or later) before every system call that changes
something below a directory, whoever makes it: Python, C's standard library, TensorFlow, HDF5, Arrow or Rust.
"""

import ctypes
import dataclasses
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
from collections.abc import Sequence

WRITES = dict.fromkeys((1, 18, 20, 295, 328, 40), "write") | {77: "truncate", 285: "allocate"}
"""System calls of x86-64 by number whose first argument is a descriptor. Those on standard streams aren't asked for."""
FLUSHES = {74: "fsync", 75: "fsync"}
OPENS = {2: (0, None, 1), 257: (1, 0, 2)}
"""Where `open` and `openat` have path, directory and flags."""
PATHS = {
    85: ("open", 0, None),
    82: ("rename", 1, None),
    264: ("rename", 3, 2),
    316: ("rename", 3, 2),
    87: ("unlink", 0, None),
    263: ("unlink", 1, 0),
    84: ("rmdir", 0, None),
    83: ("mkdir", 0, None),
    258: ("mkdir", 1, 0),
    76: ("truncate", 0, None),
    88: ("link", 1, None),
    266: ("link", 2, 1),
    86: ("link", 1, None),
    265: ("link", 3, 2),
}
"""Other system calls: what they do, and which arguments are the path that is changed and the directory it is below."""
COPY_FILE_RANGE = 326
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT

SPACE = {"write", "allocate", "mkdir", "create", "link"}
"""What fails on a full disk."""
PERMISSION = {"open", "create", "mkdir", "rename", "unlink", "rmdir", "link", "truncate"}
"""What fails on a file system that can only be read."""
FAILING = {
    "ENOSPC": SPACE,
    "EDQUOT": SPACE,
    "EROFS": PERMISSION,
    "EACCES": PERMISSION,
    "EIO": {"write", "fsync"},
}

SET_MODE_FILTER, NEW_LISTENER, SECCOMP = 1, 8, 317
NO_NEW_PRIVILEGES = 38
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
LOAD, IF_EQUAL, IF_GREATER, IF_ANY, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
"""Instructions of the kernel's filters."""
SECONDS_AFTER_THE_END = 5.0
"""How long children of a process that has ended are waited for."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to a process at one of its changes to files below a directory.

    Attributes:
        number: At which change, counted from 1.
        kind: `kill`, or the name of an error, which every change that it may concern meets from then on.
    """

    number: int
    kind: str


def is_available() -> bool:
    """Whether the kernel of this machine lets processes be watched."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    child = os.fork()
    if child == 0:
        try:
            os.close(_listen())
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def offer_watch(to: socket.socket) -> None:
    """Has the kernel ask about this process' changes and those of its children, and sends the descriptor it asks by."""
    listener = _listen()
    socket.send_fds(to, [b"0"], [listener])
    os.close(listener)


def watch(process: int, asking: socket.socket, directory: str, fault: Fault | None) -> tuple[int, list[str]]:
    """Answers the kernel until a process and its children have ended.

    Args:
        process: The process, a child of this one.
        asking: Where `offer_watch` sends its descriptor from.
        directory: Changes below it count.
        fault: What is to happen.

    Returns:
        The process' status, and each change: what was done, to which path relative to the directory.
    """
    _, [listener], _, _ = socket.recv_fds(asking, 1, 1)
    ended, changes, status = os.pidfd_open(process), [], None
    poll = select.poll()
    poll.register(listener, select.POLLIN | select.POLLHUP)
    poll.register(ended, select.POLLIN)
    while True:
        events = dict(poll.poll(1000 * SECONDS_AFTER_THE_END if status is not None else None))
        if listener in events and events[listener] & select.POLLIN:
            _answer(listener, process, directory, fault, changes)
        elif listener in events or not events:
            break
        elif status is None:
            status = os.waitpid(process, 0)[1]
            poll.unregister(ended)
    if status is None:
        status = os.waitpid(process, 0)[1]
    os.close(listener)
    os.close(ended)
    return status, changes


def _answer(listener: int, process: int, directory: str, fault: Fault | None, changes: list[str]) -> None:
    """Answers one question of the kernel."""
    question = bytearray(80)
    try:
        fcntl.ioctl(listener, RECEIVE, question)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):  # the caller was killed meanwhile
            return
        raise
    identity, caller = struct.unpack_from("QI", question)
    number, *arguments = struct.unpack_from("i", question, 16) + struct.unpack_from("6Q", question, 32)
    failure = 0
    try:
        done, path = _change(caller, number, arguments)
    except OSError:
        done, path = "", ""
    below = os.path.relpath(path, directory) if path.startswith(directory + os.sep) else None
    if done and below is not None:
        changes.append(f"{done} {below}")
        if fault is not None and len(changes) >= fault.number:
            if fault.kind == "kill":
                os.kill(process, signal.SIGKILL)
            elif done in FAILING[fault.kind]:
                failure = -getattr(errno, fault.kind)
    try:
        fcntl.ioctl(listener, SEND, struct.pack("QqiI", identity, 0, failure, 0 if failure else CONTINUE))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
            raise


def _change(caller: int, number: int, arguments: Sequence[int]) -> tuple[str, str]:
    """What a system call does, and to which path."""
    if number in WRITES or number in FLUSHES:
        return (WRITES | FLUSHES)[number], os.readlink(f"/proc/{caller}/fd/{arguments[0]}")
    if number == COPY_FILE_RANGE:
        return "write", os.readlink(f"/proc/{caller}/fd/{arguments[2]}")
    if number in OPENS:
        where, below, flags = OPENS[number]
        path = _path(caller, arguments, where, below)
        return "create" if arguments[flags] & os.O_CREAT and not os.path.exists(path) else "open", path
    done, where, below = PATHS[number]
    return done, _path(caller, arguments, where, below)


def _path(caller: int, arguments: Sequence[int], where: int, below: int | None) -> str:
    """The absolute path that a system call is given."""
    with open(f"/proc/{caller}/mem", "rb") as memory:
        memory.seek(arguments[where])
        text = b""
        while b"\0" not in text:
            # A page at a time: the next one may not be there.
            text += memory.read(4096 - memory.tell() % 4096)
    name = os.fsdecode(text.split(b"\0", 1)[0])
    descriptor = -100 if below is None else ctypes.c_int(arguments[below] & 0xFFFFFFFF).value
    base = os.readlink(f"/proc/{caller}/cwd" if descriptor == -100 else f"/proc/{caller}/fd/{descriptor}")
    return os.path.normpath(os.path.join(base, name))


def _listen() -> int:
    """Installs the filter in this process; the descriptor by which the kernel asks."""
    direct = [*FLUSHES, *PATHS, COPY_FILE_RANGE]
    tests = [(number, "notify") for number in direct] + [(number, "descriptor") for number in WRITES]
    tests += [(number, f"flags {flags}") for number, (_, _, flags) in OPENS.items()]
    places = (len(tests) + more for more in (2, 3, 5, 7))
    labels = dict(zip(("notify", "descriptor", "flags 1", "flags 2"), places, strict=True))
    program = [(LOAD, 0, 0, 0)]
    for place, (number, label) in enumerate(tests, 1):
        program.append((IF_EQUAL, labels[label] - place - 1, 0, number))
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTIFY)]
    program += [(LOAD, 0, 0, 16), (IF_GREATER, 5, 4, 2)]
    program += [(LOAD, 0, 0, 24), (IF_ANY, 3, 2, WRITING_FLAGS)]
    program += [(LOAD, 0, 0, 32), (IF_ANY, 1, 0, WRITING_FLAGS)]
    # Where the last tests jump to: not asked, or asked.
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTIFY)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)
