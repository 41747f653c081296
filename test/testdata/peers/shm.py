"""Python's way to the same memory. usage: shm.py write|read NAME TEXT-OR-LENGTH"""
import sys
from multiprocessing import resource_tracker, shared_memory

what, name, arg = sys.argv[1:]
shm = shared_memory.SharedMemory(name=name, create=what == "write", size=4096)
# The tracker would remove a segment that this process only opened or hands on.
resource_tracker.unregister("/" + name, "shared_memory")
if what == "write":
    shm.buf[: len(arg)] = arg.encode()
else:
    print(bytes(shm.buf[: int(arg)]).decode(), end="")
shm.close()
