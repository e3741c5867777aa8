"""Reads, decodes and preprocesses images: bytes, tensors and URIs become the model's input.

| module | what it does |
|---|---|
| `uris` | reads the content of a URI |
| `containers` | detects a file's format, and removes metadata |
| `pixels` | checks the pixel format, and converts it to RGB |
| `pictures` | decodes a file to an upright RGB image, within limits |
| `reader` | reads an image from bytes, a tensor or a URI |
| `preprocess` | turns an image into the model's input |
| `decoding` | does the same in separate processes with resource limits |
| `preparation` | selects where an image is decoded, and with which limits |

This module imports nothing, so that decoding processes start in a tenth of a second.
"""
