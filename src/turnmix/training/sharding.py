"""In: a model. Out: the same model, its parameters split over the ranks (FSDP2), and the whole of them again.

Each rank holds a part of every parameter, of its gradient and of its optimiser state. A layer is gathered for
as long as it computes. States are given out whole and on the CPU, so that any number of ranks can take them up.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from turnmix.training.ranks import Ranks

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Computation(torch.nn.Module):
    """Runs a function of a model in the place of its `forward`.

    Embeddings and head are gathered when the outermost module is called. A loss calls them apart, on the rows
    that have labels: it must be computed inside.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


def shard(computation: Computation, ranks: Ranks, *, dtype: torch.dtype) -> None:
    """Split the parameters of `computation` over `ranks`, layer by layer. Passes compute in `dtype`.

    Autocast would keep each layer's weights in bfloat16 from forward to backward; this policy gathers them
    in bfloat16 and lets go of them. Gradients are summed in float32.
    """
    mesh = init_device_mesh(ranks.device.type, (ranks.number,))
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    for layer in list(computation.modules()):
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(computation, mesh=mesh, mp_policy=policy)


def acting_copy(model: Any, *, on_cpu: bool) -> Any:
    """A copy of `model` before it is split; on the CPU none ever lies beside it on its device."""
    if not on_cpu:
        return deepcopy(model)
    device = model.device
    copy = deepcopy(model.to("cpu"))
    model.to(device)
    return copy


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be split, as one. Every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def trained_weights(model: torch.nn.Module) -> dict[str, Any]:
    """On rank 0 the trained parameters of `model` by name; elsewhere nothing. Every rank must ask."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return get_model_state_dict(model, options=options)


def set_trained_weights(model: torch.nn.Module, weights: dict[str, Any]) -> None:
    """Put back what `trained_weights` gave. Every rank must bring the same."""
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_model_state_dict(model, weights, options=options)


def optimizer_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """On rank 0 the state of `optimizer` by the names of `model`'s parameters. Every rank must ask."""
    if not optimizer.state:  # asking would count a step
        return {}
    return get_optimizer_state_dict(model, optimizer, options=WHOLE)


def set_optimizer_state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Put back what `optimizer_state` gave, on any number of ranks. Every rank must bring the same."""
    if state:
        set_optimizer_state_dict(model, optimizer, state, options=WHOLE)
