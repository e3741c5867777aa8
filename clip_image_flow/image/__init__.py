"""Images, however they come -> what the model sees of them.

| module | what it does |
|---|---|
| `uris` | what is behind a URI |
| `containers` | a file: its format, and what of it the pixels need |
| `pixels` | which kinds of pixels are read, and how each becomes RGB |
| `pictures` | a file -> an upright RGB picture, within limits |
| `reader` | bytes, a tensor or a URI -> a picture |
| `preprocess` | a picture -> the model's input |
| `decoding` | the same in processes that can be ended |
| `preparation` | which of them, within which bounds |

Nothing is imported here: the processes that decode start in a tenth of a second.
"""
