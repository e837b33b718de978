"""What starts JAX, before a command computes."""

from jaxrl_reward.cli.console import say


def start() -> None:
    """For a command that computes; warns of a jaxlib that is known to hang, or not known."""
    from jaxrl_reward.training.devices.sharding import jaxlib_warning

    use_all_cores()
    if warning := jaxlib_warning():
        say(f"warning: {warning}")


def use_all_cores() -> None:
    """Gives XLA a CPU device per core. It must not have started: some imports start it."""
    from jaxrl_reward.training.devices.sharding import use_all_cores

    use_all_cores()


def start_job() -> None:
    """All cores, in all processes of this job."""
    use_all_cores()
    join_processes()


def join_processes() -> None:
    """Joins the other processes of this job, if the environment names any."""
    from jaxrl_reward.training.devices import processes

    processes.join()
