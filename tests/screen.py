"""A terminal: what a program writes, as a person sees it."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time

AS_TERMINAL = "import fcntl,os,sys,termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])"
"""Makes standard input the terminal that controls the process, and becomes the program."""


class Screen:
    """Lines, some of which stand in several rows. `\\r` leads to the beginning of a row, as on a real terminal.

    Args:
        columns: Its width.
        reflows: Whether it breaks lines anew when its width changes; else they are cut off.
    """

    def __init__(self, columns, reflows=True):
        self.columns, self.reflows = columns, reflows
        self.lines, self.place = [""], 0

    def write(self, text):
        text = re.sub(r"\x1b\[[\d;]*m", "", text)  # colors take no room
        for part in re.findall(r"\x1b\[J|\x1b.*|\r|\n|[^\r\n\x1b]+", text):
            if part == "\r":
                self.place -= self.place % self.columns
            elif part == "\n":
                self.lines.append("")
                self.place = 0
            elif part == "\x1b[J":
                self.lines[-1] = self.lines[-1][: self.place]
            else:
                assert "\x1b" not in part
                self.lines[-1] = self.lines[-1][: self.place] + part + self.lines[-1][self.place + len(part) :]
                self.place += len(part)

    def resize(self, columns):
        self.columns = columns
        if not self.reflows:
            self.lines = [line[:columns] for line in self.lines]
            self.place = min(self.place, columns - 1)

    def rows(self):
        """All that is to be seen."""
        return [
            line[start : start + self.columns].rstrip()
            for line in self.lines
            for start in range(0, max(len(line), 1), self.columns)
        ]


def set_columns(descriptor, columns):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def read_some(descriptor, seconds=0.0):
    """What there is to read from a terminal, at most for so long; nothing once its program is gone."""
    text = b""
    until = time.monotonic() + seconds
    while select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            some = os.read(descriptor, 65536)
        except OSError:
            break
        text += some
        if not some:
            break
    return text.decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def program(*arguments, columns, **options):
    """A Python program that runs on a terminal of its own: its process, and the terminal's descriptor."""
    ours, theirs = os.openpty()
    set_columns(theirs, columns)
    command = [sys.executable, "-c", AS_TERMINAL, sys.executable, *map(str, arguments)]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, start_new_session=True, **streams, **options)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
