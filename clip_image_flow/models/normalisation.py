"""Mean and standard deviation that OpenAI's models normalise images with."""

from __future__ import annotations

# Mean and standard deviation of red, green and blue, in units of full intensity, from `_transform` in
# https://github.com/openai/CLIP/blob/main/clip/clip.py.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
