"""Workflows, hooks and the citation name scripts, Pythons and tools that there are."""

import os
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = {
    each.name: yaml.safe_load(each.read_text()) for each in ROOT.glob(".github/workflows/*.yml")
}


def jobs():
    return [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]


def test_workflows_run_scripts_that_are_there():
    texts = [step["run"] for job in jobs() for step in job["steps"] if "run" in step]
    called = {each for text in texts for each in re.findall(r"\bscripts/\w+", text)}
    assert {"scripts/lint", "scripts/test", "scripts/docs", "scripts/matrix"} <= called
    assert [each for each in called if not os.access(ROOT / each, os.X_OK)] == []


def test_every_job_ends_and_may_only_read():
    assert set(WORKFLOWS) == {"checks.yml", "nightly.yml"}
    assert all(each["permissions"] == {"contents": "read"} for each in WORKFLOWS.values())
    assert all(job["timeout-minutes"] < 360 for job in jobs())


def test_tests_run_on_all_pythons_that_are_promised():
    promised = re.findall(r":: Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    matrix = WORKFLOWS["checks.yml"]["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_hooks_call_tools_of_the_extra_dev():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {each["entry"].split()[0] for each in local["hooks"]}
    packages = {"ruff": "ruff", "lint-imports": "import-linter", "pyright": "pyright"}
    known = [re.match(r"[\w-]+", each)[0] for each in PROJECT["optional-dependencies"]["dev"]]
    assert tools == {*(f".venv/bin/{each}" for each in packages), "scripts/status"}
    assert set(packages.values()) <= set(known)


def test_the_citation_is_of_this_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"].startswith("jaxrl_reward") and citation["authors"]
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message"} <= citation.keys()
