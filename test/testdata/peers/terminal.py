# Runs a program on a terminal of its own, presses Ctrl-C when it says "ready", and
# sends it SIGTERM when it says "SIGINT". Prints what it printed, and its exit code.
import os
import pty
import signal
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""


def read(until):
    global seen
    while until is None or until not in seen:
        try:
            piece = os.read(terminal, 1000)
        except OSError:  # how a terminal ends
            piece = b""
        if not piece:
            return
        seen += piece


read(b"ready")
os.write(terminal, b"\x03")
read(b"SIGINT")
os.kill(pid, signal.SIGTERM)
read(None)
print(seen.decode())
print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
