# Waits for signals, and names each that comes, to the first SIGTERM.
import signal
import sys

awaited = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
ignored = [s.name for s in awaited if signal.getsignal(s) == signal.SIG_IGN]
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("ready", *ignored, flush=True)
came = None
while came != signal.SIGTERM:
    came = signal.Signals(signal.sigwait(awaited))
    print(came.name, flush=True)
sys.exit(9)
