"""An episode as a GIF or an MP4, drawn by Pillow: no window, GPU or simulator's renderer."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl_reward.files import replacing, user_path
from jaxrl_reward.render.rollout import Episode, Policy, greedy, play, random
from jaxrl_reward.types import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Episode", "Policy", "check_path", "frames", "greedy", "play", "random", "write"]

FORMATS = (".gif", ".mp4")
FPS = 25  # frames per second, the most that GIF players agree on


def check_path(path: Path | str) -> None:
    """Raises a `UserError` unless an episode can be written there."""
    suffix = user_path(path).suffix
    if suffix not in FORMATS:
        raise UserError(f"{path} must end in one of: {', '.join(FORMATS)}")
    if suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UserError("an MP4 needs an extra: pip install 'jaxrl-reward[video]'; or name a .gif")


def frames(env: Any, episode: Episode) -> "Iterator[Image]":
    """One picture for each observation of the episode."""
    from jaxrl_reward.render import bodies, flat, suites, texts, walks

    known = env.name.partition(",")[0]
    family, _, name = known.partition(":")
    total = np.concatenate([[0.0], np.cumsum(episode.rewards)])
    world: Any = getattr(env, "environment", None)
    drawn: Iterator[Any] | None = None
    if family in walks.FAMILIES:
        drawn = walks.draw(world.task, episode.obs)
    elif family == texts.FAMILY:
        drawn = (texts.draw(world.task, obs) for obs in episode.obs)
    elif getattr(world, "map", None):
        drawn = walks.draw_map(world.map, env.params.mdp, episode.obs)
    elif episode.states:
        drawn = suites.draw(env, episode.states)
    if drawn is not None:
        for i, canvas in enumerate(drawn):
            yield canvas.finish(f"{name}   step {i}   return {total[i]:,.1f}")
        return
    peak = max(float(np.abs(flat.finite(obs)).max(initial=0.0)) for obs in episode.obs)
    scene = None
    if episode.poses[0] is not None:
        scene = bodies.Scene(bodies.model_of(env), *episode.poses[0])
    for i, (obs, pose) in enumerate(zip(episode.obs, episode.poses, strict=True)):
        canvas = flat.draw(known, obs, peak) if scene is None or pose is None else scene.draw(*pose)
        yield canvas.finish(f"{name}   step {i}   return {total[i]:,.1f}")


def write(env: Any, episode: Episode, path: Path | str) -> Path:
    """Draws an episode into a `.gif` or `.mp4`, replaced at once when complete.

    Raises:
      UserError: another kind of file, or an MP4 without its extra.
    """
    path = user_path(path)
    check_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        if path.suffix == ".gif":
            _write_gif(list(frames(env, episode)), partial)
        else:
            _write_mp4(frames(env, episode), partial)
    return path


def _write_gif(pictures: "list[Image]", path: Path) -> None:
    from PIL.Image import Dither

    # One palette for all: a palette for each frame flickers, and is larger.
    palette = _montage([pictures[i * (len(pictures) - 1) // 3] for i in range(4)]).quantize(128)
    small = [picture.quantize(palette=palette, dither=Dither.NONE) for picture in pictures]
    duration = [1000 // FPS] * len(small)
    duration[-1] = 1000  # a pause before it starts again
    small[0].save(
        path, format="GIF", save_all=True, append_images=small[1:], duration=duration, loop=0
    )


def _montage(pictures: "list[Image]") -> "Image":
    from PIL import Image

    return Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))


def _write_mp4(pictures: "Iterator[Image]", path: Path) -> None:
    imageio = importlib.import_module("imageio.v2")
    with imageio.get_writer(path, format="FFMPEG", fps=FPS) as writer:
        for picture in pictures:
            writer.append_data(np.asarray(picture))
