"""The seed's client with Python's mmap module. usage: client.py FILE"""
import mmap
import os
import sys

fd = os.open(sys.argv[1], os.O_RDONLY)
with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as memory:
    os.close(fd)
    print("ipc client get:", memory[: memory.find(b"\0")].decode())
