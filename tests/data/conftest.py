"""Small data whose every number is known."""

from typing import Any

import numpy as np
import pytest

from jaxrl_reward import data as datasets

ROWS = 10


@pytest.fixture
def arrays() -> dict[str, Any]:
    """Ten steps: an episode that terminates in row 3, one that times out in row 7, a cut one."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(ROWS + 1, 3)).astype(np.float32)
    row = np.arange(ROWS)
    return {
        "obs": obs[:-1],
        "action": rng.uniform(-1, 1, (ROWS, 2)).astype(np.float32),
        "reward": row.astype(np.float32),
        "next_obs": obs[1:],
        "terminated": row == 3,
        "truncated": row == 7,
    }


@pytest.fixture
def dataset(arrays) -> datasets.Dataset:
    known = datasets.Provenance(
        environment="hopper-medium-v2",
        behaviour="sac",
        level="medium",
        seed=3,
        env_steps=1000,
        versions=(("jax", "0.9.2"),),
        random_return=1.0,
        expert_return=31.0,
    )
    return datasets.make(arrays, known)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty local store of Minari's."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"
