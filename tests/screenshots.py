"""A program on a terminal of its own, and what a person sees there at every moment."""

import contextlib
import fcntl
import os
import struct
import termios
import time

import pyte

from tests.screen import program


class Watched:
    """A program's terminal.

    Attributes:
        process: The program.
        terminal: The terminal's descriptor: what is written there is typed.
        text: All that the program wrote.
        pictures: The rows of the screen whenever something was written, without those that are empty.
    """

    def __init__(self, process, terminal, columns, lines):
        self.process, self.terminal = process, terminal
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self.stream = pyte.ByteStream(self.screen)
        self.text, self.pictures = b"", []

    def look(self, seconds=60.0, until=lambda rows: False):
        """Watches for so long, until the screen is as wanted, or the program ends; the rows then."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not until(self.rows()):
            os.set_blocking(self.terminal, False)
            try:
                some = os.read(self.terminal, 4096)
            except BlockingIOError:
                time.sleep(0.02)
                continue
            except OSError:
                break
            if not some:
                break
            self.text += some
            self.stream.feed(some)
            self.pictures.append(self.rows())
        return self.rows()

    def rows(self):
        """The rows that are on the screen."""
        return [row.rstrip() for row in self.screen.display if row.strip()]

    def all_rows(self):
        """Those that scrolled away, and those on the screen."""
        gone = [
            "".join(line[at].data for at in range(self.screen.columns)).rstrip() for line in self.screen.history.top
        ]
        return [row for row in [*gone, *self.rows()] if row]

    def resize(self, columns):
        """Changes the terminal's width."""
        self.screen.resize(columns=columns)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", self.screen.lines, columns, 0, 0))


@contextlib.contextmanager
def watched(*arguments, columns=80, lines=24, **options):
    """A Python program, on a terminal of its own."""
    with program(*arguments, columns=columns, **options) as (process, terminal):
        yield Watched(process, terminal, columns, lines)
