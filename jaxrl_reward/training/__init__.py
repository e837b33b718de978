"""Runs: train on many seeds, record, checkpoint, resume."""

from jaxrl_reward.training.devices.processes import is_first as is_first_process
from jaxrl_reward.training.devices.processes import join as join_processes
from jaxrl_reward.training.devices.sharding import jaxlib_warning, select_seed, use_all_cores
from jaxrl_reward.training.grids import points
from jaxrl_reward.training.record.checkpoint import CheckpointWarning
from jaxrl_reward.training.record.metrics import Row, Rows, Sink, TensorBoard, WandB
from jaxrl_reward.training.record.result import Loaded, NonFiniteError, Result, load
from jaxrl_reward.training.record.run_folder import (
    RunFolder,
    arm_config,
    load_config,
    load_rows,
    merge_summaries,
    steps_axis,
)
from jaxrl_reward.training.runs import Run
from jaxrl_reward.training.schedule import Plan, plan
from jaxrl_reward.training.studies import study, train

__all__ = [
    "CheckpointWarning",
    "Loaded",
    "NonFiniteError",
    "Plan",
    "Result",
    "Row",
    "Rows",
    "Run",
    "RunFolder",
    "Sink",
    "TensorBoard",
    "WandB",
    "arm_config",
    "is_first_process",
    "jaxlib_warning",
    "join_processes",
    "load",
    "load_config",
    "load_rows",
    "merge_summaries",
    "plan",
    "points",
    "select_seed",
    "steps_axis",
    "study",
    "train",
    "use_all_cores",
]
