"""What a recipe needs of this machine, checked before any work starts; and how tensor code is to run on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from turnmix.assembly.descriptor_need import check_descriptors
from turnmix.assembly.model_location import model_location
from turnmix.cluster.settings import check_ray_installed
from turnmix.core.doors import check_settings
from turnmix.core.errors import UserError
from turnmix.gateway.serving.installed import check_gateway_installed
from turnmix.loop.trackers import check_trackers
from turnmix.policies.teacher import ModelHere
from turnmix.recipe.recipe import Recipe

if TYPE_CHECKING:
    from turnmix.policies.server.student_settings import StudentSettings


def check_machine(recipe: Recipe) -> None:
    """Refuse a recipe whose sandboxes, trackers or adapters this machine cannot make.

    Raises:
        UserError: a tracker is not known, or more sandboxes at once are asked for than can be held.
        MissingDependencyError: something is not installed.
    """
    if recipe.acts:
        check_settings(recipe.tasks)
        if recipe.tasks.needs_sandbox:
            check_settings(recipe.sandbox)
        for tool in recipe.scaffold.tools:
            check_settings(tool)
        if recipe.rollouts.scaffold is not None:
            check_gateway_installed()
            check_settings(recipe.rollouts.scaffold)
        check_descriptors(recipe)
    if recipe.cluster is not None:
        check_ray_installed()
        _check_reaches_server(recipe)
    check_settings(recipe.mixture)
    check_settings(recipe.objective)
    check_trackers(recipe.trackers)
    if recipe.learner.lora is not None:
        from turnmix.training.adapter import check_peft

        check_peft()


def _check_reaches_server(recipe: Recipe) -> None:
    """Raises UserError: the student acts through a server that workers cannot ask, or not all at once."""
    server, cluster = recipe.student.server, recipe.cluster
    if server is None or cluster is None or cluster.servers:
        return
    if server.endpoint is None:
        raise UserError(
            "cluster.servers: 0: student.server would be started beside this command, for itself alone: say how many "
            "servers are placed for the workers, such as cluster.servers=1, or give student.server.endpoint"
        )
    if server.engine == "transformers" and cluster.rollout_workers > 1:
        raise UserError(
            f"cluster.rollout_workers: {cluster.rollout_workers}: transformers serve takes one request at a time: set "
            "it to 1, have servers placed (cluster.servers), or serve the student with vllm"
        )


def check_models(recipe: Recipe) -> None:
    """Refuse what can be seen to be wrong of the student and of a local teacher before any is loaded.

    Raises:
        UserError: there is no such device, or no such directory of a model.
    """
    from turnmix.policies.local.device import check_device

    named: list[tuple[str, StudentSettings | ModelHere]] = [("student", recipe.student)]
    if recipe.teacher.model_here is not None:
        named.append(("teacher", recipe.teacher.model_here))
    for name, settings in named:
        check_device(settings.device, field=f"{name}.device")
        model_location(settings.model, field=f"{name}.model")


def is_follower() -> bool:
    """Did a launcher start this process to learn beside another one, which leads?"""
    return int(os.environ.get("RANK", "0")) > 0


def prepare_tensor_code(recipe: Recipe) -> None:
    """Settle what torch and transformers read at their first use."""
    import torch
    from transformers.utils import logging

    if not os.environ.keys() & {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}:
        # Passes differ in size: what one leaves would lie in pieces that the next one has no use for. Read when a GPU
        # is first used.
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    torch.set_num_threads(recipe.threads)
    logging.disable_progress_bar()
