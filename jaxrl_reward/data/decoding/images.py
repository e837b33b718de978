"""Pictures as bytes in tables and records, decoded."""

import io

import numpy as np

from jaxrl_reward.types import UserError


def decoded(content: bytes, what: str) -> np.ndarray:
    """A PNG or JPEG as an array of bytes, `[H, W]` or `[H, W, C]`.

    Raises:
      UserError: it is damaged, or neither.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            return np.asarray(image)
    except Exception as error:
        line = " ".join(str(error).split())[:120]
        raise UserError(f"{what} has an image that cannot be decoded ({line})") from None
