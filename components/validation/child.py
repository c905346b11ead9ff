"""Runs a command as a child that doesn't outlive its parent, whatever ends that: `python child.py PARENT COMMAND...`.

It asks the kernel to kill this process when its parent ends, and then becomes the command. Only Linux can do that; on
other systems the command just runs. Needs nothing but Python's own library, so that it starts in no time.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From Linux' `sys/prctl.h`; see prctl(2)."""


def main() -> None:
    """Becomes the command, unless the parent is gone already."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit(f"the process {parent}, which this one is to serve, has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
