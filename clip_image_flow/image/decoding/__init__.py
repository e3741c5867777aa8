"""Decodes images in separate processes with limits on CPU time and memory.

`worker` is the program of a decoding process, `process` starts, calls and kills one, `decoders` is the pool of them,
and `budget` limits their total memory.

An image is untrusted input, and limits on its size do not limit its cost: a JPEG of 193 kB with ten thousand empty
scans takes half a minute to decode. A process, unlike a thread, can be limited and killed.
"""
