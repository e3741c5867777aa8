"""The image encoder on an engine of a known speed, so that what else this machine does matters little."""

import time

import numpy as np
from clip_image import CLIPImageEncoder

ONCE_SECONDS, ITEM_SECONDS = 0.04, 0.03  # a forward pass, and each item of it


class SlowEncoder(CLIPImageEncoder):
    """Its forward passes take a fixed time longer."""

    def __init__(self, **options):
        super().__init__(**options)
        batcher = self._encoder._batcher
        compute = batcher._forward

        def forward(batch: np.ndarray) -> np.ndarray:
            time.sleep(ONCE_SECONDS + ITEM_SECONDS * len(batch))
            return compute(batch)

        batcher._forward = forward
