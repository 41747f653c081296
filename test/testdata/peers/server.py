"""The seed's server with Python's mmap module. usage: server.py FILE TEXT"""
import mmap
import os
import sys

fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, 1024)
with mmap.mmap(fd, 1024) as memory:
    os.close(fd)
    text = sys.argv[2].encode() + b"\0"
    memory[: len(text)] = text
