"""Signals end a process within seconds, wherever its main thread is: a destructor, a busy library, a bare except."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foundation import termination

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import contextlib, hashlib, os, signal, sys, threading, time, weakref
from foundation import termination
from foundation.termination import TERMINATION, number_of

def ready():
    print("ready", flush=True)

def close():
    print("closed", flush=True)

termination.BUSY_SECONDS = 0.5
TERMINATION.closing = close
TERMINATION.interrupt("ended at once")
"""
END = """
except KeyboardInterrupt as interrupt:
    print("interrupted", flush=True)
    TERMINATION.leave(128 + number_of(interrupt))
"""


def end(body, *numbers, seconds=0.2):
    """Runs a program until it is ready, sends it signals; its exit code, what it wrote and how long it took to end."""
    program = BEGIN + "try:\n" + "".join(f"    {line}\n" for line in body.splitlines()) + END
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        for number in numbers:
            time.sleep(seconds)
            process.send_signal(number)
        began = time.monotonic()
        out, told = process.communicate(timeout=30)
    return process.returncode, out, told, time.monotonic() - began


@pytest.fixture(autouse=True)
def not_ignored():
    """A shell may have had this process ignore some, and then a child does so, too."""
    before = {number: signal.getsignal(number) for number in termination.SIGNALS}
    for number in termination.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_interrupts(number, code):
    assert end("ready()\ntime.sleep(60)", number)[:3] == (code, "interrupted\n", "")


LOST = {
    "destructor": """
class Slow:
    def __del__(self):
        ready()
        time.sleep(0.5)

del (slow := [Slow()])[0]
time.sleep(60)
""",
    "weak reference": """
class Anything: pass
def gone(reference):
    ready()
    time.sleep(0.5)
anything = Anything()
reference = weakref.ref(anything, gone)
del anything
time.sleep(60)
""",
    "callback from C": """
import ctypes
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
@compare
def slow(one, other):
    ready()
    time.sleep(0.5)
    return 0
ctypes.CDLL(None).qsort((ctypes.c_int * 2)(), 2, 4, slow)
time.sleep(60)
""",
}


@pytest.mark.parametrize("body", LOST.values(), ids=LOST)
def test_an_exception_that_python_ignores_comes_again(body):
    code, out, told, seconds = end(body, signal.SIGTERM)
    assert (code, out, told) == (143, "interrupted\n", "")
    assert seconds < 3


def test_what_catches_everything_is_found_out():
    body = """
ready()
try:
    time.sleep(60)
except:
    pass
lost = TERMINATION.lost()
print(number_of(lost), flush=True)
raise lost"""
    assert end(body, signal.SIGTERM)[:3] == (143, "15\ninterrupted\n", "")


def test_a_busy_library_is_not_waited_for():
    code, out, told, seconds = end('ready()\nhashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)', signal.SIGTERM)
    assert (code, out, told) == (143, "closed\n", "ended at once\n")
    assert seconds < 5


def test_a_second_signal_ends_what_the_first_has_begun_to_close():
    body = """
ready()
try:
    time.sleep(60)
finally:
    time.sleep(60)"""
    code, out, told, seconds = end(body, signal.SIGTERM, signal.SIGINT)
    assert (code, out, told) == (130, "closed\n", "ended at once\n")
    assert seconds < 3


def test_what_takes_a_moment_is_not_interrupted():
    body = """
with TERMINATION.held_back():
    ready()
    time.sleep(0.5)
    print("whole", flush=True)
time.sleep(60)"""
    assert end(body, signal.SIGTERM)[:3] == (143, "whole\ninterrupted\n", "")


def test_ignored_signals_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, out, _, _ = end("ready()\ntime.sleep(1)\nprint('done')", signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (code, out) == (0, "done\n")


def test_threads_are_not_waited_for_after_an_interrupt():
    body = "threading.Thread(target=time.sleep, args=(60,)).start()\nready()\ntime.sleep(60)"
    code, _, _, seconds = end(body, signal.SIGINT)
    assert (code, seconds < 3) == (130, True)


def test_a_forked_child_does_not_wake_its_parent():
    body = """
heard, said = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.write(said, b"!")
    time.sleep(0.3)
    os._exit(0)
os.read(heard, 1)
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
ready()
time.sleep(0.9)
print("alive", flush=True)"""
    assert end(body)[:3] == (0, "alive\n", "")


def test_importing_has_no_effect():
    program = "import signal, foundation.termination as t; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.stdout == "True\n", done.stderr
