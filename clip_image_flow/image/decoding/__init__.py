"""Decoding where it can be ended: in processes that are bounded in CPU time and memory.

`worker` is the program that runs in each of them, `process` the side of it that starts, asks and ends one, `decoders`
keeps as many as there is work for, and `budget` shares out the memory that decoding may take.

A picture is a stranger's program for somebody else's decoder. No limit on its size says what it costs: ten thousand
empty scans make a JPEG of 193 kB take half a minute. So the kernel bounds it, and a process is what the kernel can end.
"""
