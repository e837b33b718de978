"""A judge: an ensemble of networks that score whole responses, to be fitted, saved and frozen.

The torso is one of those that write, `language_models`, read behind the last token; the head
is dense layers. What else a judge is told goes into the head beside the text: numbers such as
a principle, a user's latent or a tool's output, and another response that it is compared with.
"""

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.nn import language_models, networks
from jaxrl_reward.types import Array, UserError, nearest

FORMAT = "jaxrl-reward judge 1"  # says what a file is, and the version of its layout
NETWORKS = get_args(language_models.Network)


@dataclasses.dataclass(frozen=True)
class Design:
    """What networks of a judge are like. Hashable: it is static in a `ResponseModel`.

    Attributes:
      vocabulary: V, how many tokens there are; the number V is nothing.
      prompt: P, tokens of a prompt.
      length: T, of the longest response.
      network: `gru` or `transformer`.
      width: of the torso.
      layers: of a transformer.
      heads: of a transformer's attention; must divide `width`.
      hidden: of the head's one hidden layer; 0: the head is linear.
      outputs: K, numbers that the head gives.
      routed: whether a router weighs these by the prompt; else the first is the score.
      given: C, numbers that it is told beside the text.
      relative: whether it compares with another response to the same prompt.
    """

    vocabulary: int
    prompt: int
    length: int
    network: str = "gru"
    width: int = 32
    layers: int = 2
    heads: int = 4
    hidden: int = 0
    outputs: int = 1
    given: int = 0
    relative: bool = False
    routed: bool = True


class Judged(NamedTuple):
    """What one network says of N responses.

    Attributes:
      outputs: of the head, `[N, K]`.
      weights: of these by the prompt's router, `[N, K]`, sum to 1.
      features: what the head reads of the response, `[N, H]`.
    """

    outputs: Array
    weights: Array
    features: Array

    def score(self) -> Array:
        """One number a response, `[N]`: the outputs as the router weighs them."""
        return (self.outputs * self.weights).sum(-1)


class ResponseModel(struct.PyTreeNode):
    """`members` networks of one design.

    Attributes:
      params: leaves `[members, ...]`.
      design: what the networks are like.
      source: the file it comes from, if any.
    """

    params: Any
    design: Design = struct.field(pytree_node=False)
    source: str = struct.field(pytree_node=False, default="")

    @property
    def members(self) -> int:
        """How many networks there are."""
        return jax.tree.leaves(self.params)[0].shape[0]

    def judge(self, text: Array, given: Any = None, other: Any = None) -> Judged:
        """What each member says, leaves `[members, N, ...]`; the arguments are those of `judge`."""
        check(self.design, text, given, other)
        one = lambda params: judge(self.design, params, text, given, other)  # noqa: E731
        return jax.vmap(one)(self.params)

    def scores(self, text: Array, given: Any = None, other: Any = None) -> Array:
        """Each member's number of responses, `[members, N]`; see `Judged.score`."""
        found = self.judge(text, given, other)
        return (found.outputs * found.weights).sum(-1)

    def save(self, path: str | Path) -> Path:
        """Writes it to a file that `load` and the term `judge(start=...)` read.

        Raises:
          UserError: the path does not end in `.npz`.
        """
        return store(path, FORMAT, self.params, {"design": dataclasses.asdict(self.design)})


def init(key: Array, design: Design, members: int = 1) -> ResponseModel:
    """A judge that is not fitted.

    Raises:
      UserError: there is no such network, or a size does not fit.
    """
    check_design(design)
    if members < 1:
        raise UserError(f"a judge has at least 1 member, not {members}")
    draw = lambda key: _init(design, key)  # noqa: E731
    return ResponseModel(jax.vmap(draw)(jax.random.split(key, members)), design)


def check_design(design: Design) -> None:
    """Raises a `UserError` unless there are networks of this design."""
    if design.network not in NETWORKS:
        raise UserError(
            f"a judge's network cannot be {design.network!r}, {nearest(design.network, NETWORKS)}"
        )
    for name in ("vocabulary", "prompt", "length", "width", "layers", "heads", "outputs"):
        if (size := getattr(design, name)) < 1:
            raise UserError(f"a judge's {name} must be at least 1, not {size}")
    for name in ("hidden", "given"):
        if (size := getattr(design, name)) < 0:
            raise UserError(f"a judge's {name} must be at least 0, not {size}")
    if design.network == "transformer" and design.width % design.heads:
        raise UserError(f"a judge's heads={design.heads} must divide its width={design.width}")


def load(path: str | Path) -> ResponseModel:
    """The judge in a file that `save` wrote.

    Raises:
      UserError: there is no such file, or it holds something else.
    """

    def made(told: dict[str, Any]) -> Design:
        design = Design(**told["design"])
        check_design(design)
        return design

    design, leaves = stored(path, FORMAT, "ResponseModel", made)
    like = jax.eval_shape(lambda: _init(design, jax.random.key(0)))
    members = {x.shape[:1] for x in leaves}
    if len(members) != 1 or members == {(0,)}:
        raise UserError(f"{str(path)!r} holds a judge of another shape than it says")
    params = shaped(path, leaves, like, members.pop())
    return ResponseModel(params, design, str(path))


# ---- files ------------------------------------------------------------------------------


def store(path: str | Path, layout: str, params: Any, told: dict[str, Any]) -> Path:
    """Writes parameters to a file, whose `layout` says what it is, and what is `told` as JSON.

    Raises:
      UserError: the path does not end in `.npz`.
    """
    path = user_path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path} must end in .npz to hold a judge")
    arrays: dict[str, Any] = {
        f"arr_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(params))
    }
    arrays["format"] = np.array(layout)
    arrays |= {name: np.array(json.dumps(value)) for name, value in told.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return path


def stored(
    path: str | Path, layout: str, saver: str, made: Callable[[dict[str, Any]], Any]
) -> tuple[Any, list[np.ndarray]]:
    """What is `made` of what a file of this layout tells, and the leaves of its parameters.

    `saver` is the class whose `save` writes such files.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    try:
        # NumPy would leave a file open that is cut short.
        with open(user_path(path), "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if "format" not in file or str(file["format"]) != layout:
                raise ValueError
            names = [name for name in file.files if not name.startswith("arr_")]
            told = {name: json.loads(str(file[name])) for name in names if name != "format"}
            found = made(told)
            leaves = [file[f"arr_{i}"] for i in range(len(file.files) - len(names))]
    except (zipfile.BadZipFile, zlib.error):
        raise UserError(f"{str(path)!r} is damaged: the file was cut short or changed") from None
    except OSError:
        raise UserError(f"there is no judge in {str(path)!r}; save one there") from None
    except (KeyError, TypeError, ValueError, EOFError):
        raise UserError(f"{str(path)!r} is no judge that {saver}.save wrote") from None
    return found, leaves


def shaped(path: str | Path, leaves: list[np.ndarray], like: Any, before: tuple = ()) -> Any:
    """The leaves as a tree like another, whose shapes are these behind the axes `before`.

    Raises:
      UserError: they are not.
    """
    if [x.shape for x in leaves] != [(*before, *x.shape) for x in jax.tree.leaves(like)]:
        raise UserError(f"{str(path)!r} holds a judge of another shape than it says")
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(x) for x in leaves])


# ---- what they say ----------------------------------------------------------------------


def judge(design: Design, params: Any, text: Array, given: Any = None, other: Any = None) -> Judged:
    """What one network says.

    Args:
      design: what it is like.
      params: its parameters.
      text: prompts and responses, `[N, P + T]` int32, V where there is nothing.
      given: numbers beside the text, `[N, C]`, if the design has any.
      other: the responses it compares with, `[N, T]`, if the design is relative.
    """
    ours, asked = read(design, params, text)
    parts = [ours]
    if design.relative:
        other = jnp.asarray(other)
        prompts = text[:, : design.prompt]
        parts.append(read(design, params, jnp.concatenate([prompts, other], 1))[0])
    if design.given:
        parts.append(jnp.asarray(given, jnp.float32))
    return Judged(*head(design, params, jnp.concatenate(parts, 1), asked), ours)


def read(design: Design, params: Any, text: Array) -> tuple[Array, Array]:
    """Features behind the last token of the response, and of the prompt, `[N, H]` each."""
    text = text.astype(jnp.int32)
    known = _torso(design).features(params["torso"], text)
    count = (text[:, design.prompt :] < design.vocabulary).sum(1)
    last = jnp.arange(text.shape[1])[None] == design.prompt + count[:, None] - 1
    # A sum of products: its gradient is one too, where that of an index is a scatter.
    return (known * last[..., None]).sum(1), known[:, design.prompt - 1]


def head(design: Design, params: Any, read: Array, asked: Array) -> tuple[Array, Array]:
    """Outputs and the router's weights, `[N, K]` each.

    Args:
      design: of the network.
      params: its parameters.
      read: features of responses, then those of the others if it is relative, then what is
        given, `[N, F]`.
      asked: features of the prompts, `[N, H]`.
    """
    outputs = _head(design).apply(params["head"], read)
    if design.outputs == 1 or not design.routed:
        return outputs, jnp.zeros_like(outputs).at[:, 0].set(1.0)
    routed = networks.mlp((design.outputs,), "relu", 0.0).apply(params["router"], asked)
    return outputs, jax.nn.softmax(routed, -1)


def texts(prompt: Array, response: Array) -> Array:
    """Prompts `[..., P]` and responses `[..., T]` as `judge` reads them, `[N, P + T]` int32."""
    both = jnp.concatenate([jnp.asarray(prompt), jnp.asarray(response)], -1)
    return both.reshape(-1, both.shape[-1]).astype(jnp.int32)


def check(design: Design, text: Any, given: Any, other: Any) -> None:
    """Raises a `UserError` unless what a judge is told has the shapes of its design."""
    size = design.prompt + design.length
    if jnp.ndim(text) != 2 or jnp.shape(text)[1] != size:
        raise UserError(
            f"this judge reads {design.prompt} tokens of a prompt and {design.length} of a "
            f"response, texts [N, {size}], not {list(jnp.shape(text))}"
        )
    count = jnp.shape(text)[0]
    wanted = {
        "given": (given, (count, design.given) if design.given else None),
        "other": (other, (count, design.length) if design.relative else None),
    }
    for name, (value, shape) in wanted.items():
        found = None if value is None else jnp.shape(value)
        if found != shape:
            told = [None if x is None else list(x) for x in (shape, found)]
            raise UserError(f"this judge is told {name} {told[0]}, not {told[1]}")


def _init(design: Design, key: Array) -> Any:
    key_torso, key_head, key_router = jax.random.split(key, 3)
    torso = _torso(design).init(key_torso)
    width = design.width
    size = width * (1 + design.relative) + design.given
    params = {"torso": torso, "head": _head(design).init(key_head, jnp.zeros(size))}
    if design.outputs > 1 and design.routed:
        router = networks.mlp((design.outputs,), "relu", 0.0)
        params["router"] = router.init(key_router, jnp.zeros(width))
    return params


def _torso(design: Design) -> language_models.LanguageModel:
    shape = (design.vocabulary, design.prompt)
    if design.network == "gru":
        return language_models.recurrent(*shape, design.width)
    sizes = (design.width, design.layers, design.heads)
    return language_models.transformer(*shape, design.length, *sizes)


def _head(design: Design) -> networks.Network:
    hidden = (design.hidden,) if design.hidden else ()
    return networks.mlp((*hidden, design.outputs), "relu", 1.0)
