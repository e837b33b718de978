"""Runs: train on many seeds, record, checkpoint, resume."""

from jaxrl_reward.training.checkpoint import CheckpointWarning
from jaxrl_reward.training.loop import Loaded, NonFiniteError, Result, load, train
from jaxrl_reward.training.metrics import Row, Rows, Sink, TensorBoard, WandB
from jaxrl_reward.training.run_folder import (
    RunFolder,
    arm_config,
    load_config,
    load_rows,
    merge_summaries,
)
from jaxrl_reward.training.schedule import Plan, plan
from jaxrl_reward.training.sharding import cpu_hang_warning, select_seed, use_all_cores

__all__ = [
    "CheckpointWarning",
    "Loaded",
    "NonFiniteError",
    "Plan",
    "Result",
    "Row",
    "Rows",
    "RunFolder",
    "Sink",
    "TensorBoard",
    "WandB",
    "arm_config",
    "cpu_hang_warning",
    "load",
    "load_config",
    "load_rows",
    "merge_summaries",
    "plan",
    "select_seed",
    "train",
    "use_all_cores",
]
