#!/usr/bin/env bash
# playground==0.2.0, mujoco==3.17.0, mujoco-mjx==3.17.0, brax==0.14.2, jax==0.9.2, Python 3.11.
#
# Question: with which settings does MuJoCo Playground train PPO and SAC on PendulumSwingup?
# One would guess: with those that its source has for the task: an action repeated 4 times, for PPO 4 passes over a
#   batch, for SAC 10 million steps.
# Seen: with the general ones, an action repeated once, 16 passes, 5 million steps. The settings are asked for by the
#   name "PendulumSwingUp", and the task is called "PendulumSwingup"; the name with the large U is refused.
# Consequence: who trains the task by `brax_ppo_config` and reports "Playground's settings" has other settings than a
#   reader of the source takes them for; PPO takes four times the gradient steps for each environment step.
# Source: mujoco_playground/config/dm_control_suite_params.py, brax_ppo_config and brax_sac_config.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'playground==0.2.0' 'mujoco==3.17.0' 'mujoco-mjx==3.17.0' 'brax==0.14.2' \
    'jax==0.9.2' 'jaxlib==0.9.2'
JAX_PLATFORMS=cpu MUJOCO_GL=disable "$dir/venv/bin/python" - <<'PY'
import inspect

from mujoco_playground import registry
from mujoco_playground.config import dm_control_suite_params as settings

names = [name for name in registry.ALL_ENVS if "Pendulum" in name]
ppo, sac = settings.brax_ppo_config("PendulumSwingup"), settings.brax_sac_config("PendulumSwingup")
general = settings.brax_ppo_config("CartpoleBalance")
source = inspect.getsource(settings.brax_ppo_config)
print("tasks:", names)
print("PPO: action_repeat", ppo.action_repeat, "num_updates_per_batch", ppo.num_updates_per_batch)
print("SAC: action_repeat", sac.action_repeat, "num_timesteps", sac.num_timesteps)
print("the source has settings for PendulumSwingUp:", '"PendulumSwingUp"' in source)
try:
    settings.brax_ppo_config("PendulumSwingUp")
    refused = False
except ValueError as error:
    refused = True
    print("PendulumSwingUp:", str(error).partition(" not found")[0], "not found")
same = ppo.to_dict() == general.to_dict()
print("PPO's are those of CartpoleBalance:", same)
assert names == ["PendulumSwingup"] and '"PendulumSwingUp"' in source, "the behaviour has changed"
assert (ppo.action_repeat, ppo.num_updates_per_batch, same) == (1, 16, True), "the behaviour has changed"
assert (sac.action_repeat, sac.num_timesteps, refused) == (1, 5_000_000, True), "the behaviour has changed"
PY
