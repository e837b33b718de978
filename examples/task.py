r"""A task of your own with an exact verifier: a digit is asked, right is the next one.

    jaxrl-reward train group_pg sequence:next,digits=5 --import examples/task.py \
        --num-envs 16 --warmup 2 --width 8 --layers 1 \
        --total-steps 256 --evals 2 --eval-episodes 4 --out runs/task
    jaxrl-reward evaluate runs/task --episodes 4
    jaxrl-reward render runs/task --out runs/task/episode.gif

Token 0 ends a response; `digits` is an option because it is an argument with a default.
"""

import jax.numpy as jnp

from jaxrl_reward.envs import sequence
from jaxrl_reward.envs.sequence import Question, Score, Task, base


@sequence.register("next")
def following(digits: int = 9, max_tokens: int = 3) -> Task:
    """A digit; right is the one behind it, and then the end."""
    base.check_option("next", "digits", digits, 2, 9)
    base.check_tokens("next", max_tokens, 2)
    nothing = digits + 1

    def ask(number):  # the prompts are 0 to `digits` - 2, and their tokens one more
        return Question(jnp.array([number + 1]), jnp.int32(0), number + 2)

    def verify(question, tokens, luck):
        length, ended = base.written(tokens)
        right = ended & (length == 1) & (tokens[0] == question.truth)
        return Score(right.astype(jnp.float32), {"length": length.astype(jnp.float32)})

    def answer(question):
        return base.response(question.truth[None], max_tokens, nothing)

    symbols = (".", *"012345678"[:digits])
    levels = (digits - 1,)
    return Task(symbols, 1, max_tokens, levels, ask, verify, base.shown(answer), answer=answer)
