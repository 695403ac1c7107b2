"""Threads, sockets, processes and files: each module owns one kind of I/O."""
