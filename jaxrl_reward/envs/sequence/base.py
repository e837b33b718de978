"""Tasks of writing: a prompt, a response token by token, and an exact verifier.

A task is pure functions of a prompt's number, of the tokens written and of the
episode's luck, so that it can be enumerated, stepped as an environment, or
judged in one go after all tokens are written. Token 0 ends a response; the
number behind the last token, `vocabulary`, stands for "nothing is here".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.types import Array, UserError

END = 0
LONGEST = 64  # tokens of a response


class Question(NamedTuple):
    """What is asked.

    Attributes:
      prompt: its tokens, `[P]` int32, with nothing on the left where it is short.
      level: how hard it is, from 0, int32.
      truth: what the verifier needs to know, any pytree.
    """

    prompt: Array
    level: Array
    truth: Any


class Score(NamedTuple):
    """What is known of a response.

    Attributes:
      outcome: what it is worth if it ends here, float32.
      facts: further numbers, float32; they go into `info`. Terms know `answer`, by which
        responses are told apart, and `scratch`, the tokens before the answer (0).
      steps: numbers `[T]` that each token has of its own; they go into `info` too.
    """

    outcome: Array
    facts: dict[str, Array]
    steps: dict[str, Array] = {}  # noqa: RUF012, never changed


class Modes(NamedTuple):
    """How a task asks about responses, see `modes.with_modes`.

    Attributes:
      plain: the task without modes.
      put: from a question of `plain`, a mode's number, the responses shown `[2, T]` and the
        right verdict, to the `Question`.
      show: from a question, another one, whether it is to be wrong and a key, to a question in
        any mode and a response to it: a demonstration.
      verdicts: the tokens of no and yes.
    """

    plain: "Task"
    put: Callable[[Question, Array, Array, Array], Question]
    show: Callable[[Question, Question, Array, Array], tuple[Question, Array]]
    verdicts: tuple[int, int]


class Task(NamedTuple):
    """A family of questions.

    Attributes:
      symbols: how each token prints; as many as there are actions.
      prompt_length: P.
      max_tokens: T, after which a response is cut off.
      levels: how many prompts each level has; they are numbered level by level.
      ask: from a prompt's number, int32, to the `Question`.
      verify: from the question, the tokens `[T]` and a uniform number in [0, 1),
        the luck of this response, to the `Score`.
      solve: from the question and a key to a right response `[T]`, as it might
        be demonstrated: tokens, the end, and nothing behind.
      rephrase: from a prompt's number to that of the same question in other words.
      answer: from the question to the one right answer without any scratch, `[T]`: tokens,
        the end, and nothing behind; None where several are right.
    """

    symbols: tuple[str, ...]
    prompt_length: int
    max_tokens: int
    levels: tuple[int, ...]
    ask: Callable[[Array], Question]
    verify: Callable[[Question, Array, Array], Score]
    solve: Callable[[Question, Array], Array]
    rephrase: Callable[[Array], Array] = lambda number: number
    answer: Callable[[Question], Array] | None = None
    modes: Modes | None = None

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, V; as a token, V is none."""
        return len(self.symbols)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return sum(self.levels)

    def draw(self, key: Array, mix: Any = 0.0) -> Array:
        """A prompt's number: a level l with a weight of `exp(mix * l)`, then any of it."""
        key_level, key_place = jax.random.split(key)
        sizes = jnp.asarray(self.levels, jnp.int32)
        level = jax.random.categorical(key_level, mix * jnp.arange(sizes.shape[0]))
        before = jnp.cumsum(sizes) - sizes
        return before[level] + jax.random.randint(key_place, (), 0, sizes[level])

    def score(self, question: Question, tokens: Array, luck: Array) -> Score:
        """As `verify`, whose facts need not speak of scratch where a task has none."""
        found = self.verify(question, tokens, luck)
        return found._replace(facts={"scratch": jnp.float32(0.0), **found.facts})

    def text(self, tokens: Any) -> str:
        """Tokens as they print, without what is not there."""
        known = [int(token) for token in tokens if 0 <= int(token) < self.vocabulary]
        return "".join(self.symbols[token] for token in known)


# ---- what the tasks have in common ----------------------------------------------------


def place(number: Array, levels: tuple[int, ...]) -> tuple[Array, Array]:
    """The level of a prompt's number, and its place in it."""
    after = jnp.cumsum(jnp.asarray(levels, jnp.int32))
    level = (number >= after).sum().astype(jnp.int32)
    return level, number - jnp.where(level > 0, after[level - 1], 0)


def written(tokens: Array) -> tuple[Array, Array]:
    """How many tokens come before the end, and whether there is an end."""
    ends = tokens == END
    return jnp.where(ends.any(), ends.argmax(), tokens.shape[0]).astype(jnp.int32), ends.any()


def to_left(tokens: Array, nothing: int) -> Array:
    """The tokens in order, with nothing only behind them."""
    return tokens[jnp.argsort(tokens == nothing, stable=True)]


def to_right(tokens: Array, nothing: int) -> Array:
    """The tokens in order, with nothing only before them."""
    return tokens[jnp.argsort(tokens != nothing, stable=True)]


def response(tokens: Array, length: int, nothing: int) -> Array:
    """A response `[length]`: the tokens that are there, the end, and nothing behind.

    One that does not fit is cut off.
    """
    ended = jnp.concatenate([to_left(tokens, nothing), jnp.full(length + 1, nothing)])
    ended = ended.at[(tokens != nothing).sum()].set(END)
    return ended[:length].astype(jnp.int32)


def shown(answer: Callable[[Question], Array]) -> Callable[[Question, Array], Array]:
    """Demonstrations that are the answer alone, see `Task.solve`."""
    return lambda question, key: answer(question)


def check_tokens(name: str, max_tokens: int, needed: int) -> None:
    """Raises a `UserError` unless a right response fits."""
    if not needed <= max_tokens <= LONGEST:
        raise UserError(
            f"sequence:{name}: max_tokens must be between {needed} and {LONGEST}, not {max_tokens}"
        )


def check_option(name: str, option: str, value: float, low: float, high: float) -> None:
    """Raises a `UserError` unless an option is in its range."""
    if not low <= value <= high:
        raise UserError(f"sequence:{name}: {option} must be between {low} and {high}, not {value}")


# ---- the environment ------------------------------------------------------------------


class SequenceState(struct.PyTreeNode):
    """A response that is being written.

    Attributes:
      number: the prompt's.
      question: what is asked.
      luck: in [0, 1), drawn with the prompt.
      tokens: what is written so far, `[T]` int32.
      time: how many of them.
    """

    number: Array
    question: Question
    luck: Array
    tokens: Array
    time: Array


class SequenceParams(struct.PyTreeNode):
    """The weight of harder prompts, see `Task.draw`, and the longest response."""

    mix: float = 0.0
    max_steps_in_episode: int = LONGEST


class Sequence(environment.Environment):
    """A task as an environment: an action is the next token.

    Observed is the text so far, prompt and response, `[P + T]`, a token's number a
    place. A response is judged at its end; one that is cut off pays nothing.
    `info` has the prompt's number and level and what the verifier tells of what is
    written so far.
    """

    def __init__(self, name: str, task: Task):
        self._name, self.task = name, task

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_actions(self) -> int:
        return self.task.vocabulary

    @property
    def default_params(self) -> Any:
        return SequenceParams(max_steps_in_episode=self.task.max_tokens)

    def begin(self, number: Array, luck: Array) -> tuple[Array, SequenceState]:
        """The first observation and state of a given prompt."""
        question = self.task.ask(number)
        tokens = jnp.full(self.task.max_tokens, self.task.vocabulary, jnp.int32)
        state = SequenceState(number, question, luck, tokens, jnp.int32(0))
        return self._observe(state), state

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        key_prompt, key_luck = jax.random.split(key)
        return self.begin(self.task.draw(key_prompt, params.mix), jax.random.uniform(key_luck))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key, params
        token = jnp.asarray(action, jnp.int32)
        after = state.replace(tokens=state.tokens.at[state.time].set(token), time=state.time + 1)
        score = self.task.score(state.question, after.tokens, state.luck)
        terminated = token == END
        info = {"prompt": state.number, "level": state.question.level, **score.facts}
        info |= {name: value[state.time] for name, value in score.steps.items()}
        reward = jnp.where(terminated, score.outcome, 0.0)
        return self._observe(after), after, reward, terminated, info

    def is_truncated(self, state: Any, params: Any) -> Array:
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> Any:
        size = self.task.prompt_length + self.task.max_tokens
        return spaces.Box(0.0, float(self.task.vocabulary), (size,))

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self.task.vocabulary)

    def _observe(self, state: SequenceState) -> Array:
        text = jnp.concatenate([state.question.prompt, state.tokens])
        return text.astype(jnp.float32)
