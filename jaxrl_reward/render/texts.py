"""Drawings of writing tasks: the prompt, and the response so far."""

from typing import Any

import numpy as np

from jaxrl_reward.render.canvas import BLUE, INK, MUTED, Canvas

FAMILY = "sequence"
LINE = 26  # characters of a line
_SIZE, _STEP = 26, 32  # of the letters, and from line to line, in pixels


def draw(task: Any, obs: np.ndarray) -> Canvas:
    """One frame.

    Args:
      task: an `envs.sequence.Task`.
      obs: the text so far, prompt and response, as the environment shows it.
    """
    canvas, y = Canvas(), 40.0
    parts = (
        ("prompt", obs[: task.prompt_length], INK),
        ("response", obs[task.prompt_length :], BLUE),
    )
    for name, tokens, colour in parts:
        canvas.text((20.0, y), name, MUTED, 13)
        for line in lines(task.text(tokens)):
            canvas.text((20.0, y + 18.0), line, colour, _SIZE)
            y += _STEP
        y += 28.0
    return canvas


def lines(text: str) -> list[str]:
    """The text in lines of `LINE` characters, at least one."""
    return [text[i : i + LINE] for i in range(0, len(text), LINE)] or [""]
