"""Set functions with diminishing returns, tasks that they are made of, and oracles."""

from jaxrl_reward.submodular import maps, objectives, oracles, tasks
from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.submodular.covering import (
    Coverage,
    FacilityLocation,
    GridCoverage,
    Groups,
    coverage,
    disc,
    groups,
    neighbourhoods,
    square,
)
from jaxrl_reward.submodular.cut import GraphCut
from jaxrl_reward.submodular.gaussian import (
    InformationGain,
    Kernel,
    LinearDesign,
    Table,
    conditioned,
    entropy,
    kernel,
)
from jaxrl_reward.submodular.objectives import Objective
from jaxrl_reward.submodular.objectives import of as objective
from jaxrl_reward.submodular.tasks import Task

__all__ = [
    "Coverage",
    "FacilityLocation",
    "GraphCut",
    "GridCoverage",
    "Groups",
    "InformationGain",
    "Kernel",
    "LinearDesign",
    "Objective",
    "SetFunction",
    "Table",
    "Task",
    "conditioned",
    "coverage",
    "disc",
    "entropy",
    "groups",
    "kernel",
    "maps",
    "neighbourhoods",
    "objective",
    "objectives",
    "oracles",
    "square",
    "tasks",
]
