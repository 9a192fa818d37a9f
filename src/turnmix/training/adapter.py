"""LoRA. In: a model. Out: the same with low-rank matrices beside its frozen ones, W + α/r · B·A.

The adapted model is the model itself, changed in place: it acts, trains on trees and is sharded as before.
Merged weights leave for whoever loads the checkpoint with plain transformers. A resumed run needs the matrices
themselves, since W + α/r · B·A rounded does not give them back.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from turnmix.core.errors import MissingDependencyError, UserError, first_line
from turnmix.training.learner_settings import LoraSettings

ADAPTER = "adapter"
_WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft puts before the names in an adapter's file."""
_NAME = "default"


def add_adapter(model: Any, settings: LoraSettings, *, seed: int) -> None:
    """Freeze `model` and put matrices beside its own. B begins at 0: the model computes what it did.

    Raises:
        UserError: `target_modules` names nothing in the model, or a matrix that is tied to another one.
        MissingDependencyError: peft is not installed.
    """
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model

    targets = settings.target_modules
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore", ".*tied layer", UserWarning)  # refused below
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            linear = sorted(
                {name.rpartition(".")[2] for name, module in model.named_modules() if _is_linear(module)}
            )
            raise UserError(
                f"learner.lora.target_modules: {', '.join(targets)}: {first_line(error)} "
                f"Choose among {', '.join(linear)}, or 'all-linear'."
            ) from error
    _refuse_tied(model)
    for module in model.modules():
        # What enters is computed with as it is: peft would copy it into float32, from which autocast takes it back.
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


def _refuse_tied(model: Any) -> None:
    """Raises UserError: a matrix that the model uses in two places would learn in one of them. Then one file of
    weights says neither: transformers and vLLM tie them again, each in its own way."""
    places: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    for names in places.values():
        adapted = [name for name in names if ".base_layer." in name]
        if adapted and len(names) > 1:
            module, others = _module(adapted[0]), [_module(name) for name in names if name != adapted[0]]
            raise UserError(
                f"learner.lora.target_modules: {module.rpartition('.')[2]}: the model ties {module} to "
                f"{', '.join(others)}, and low-rank matrices beside one of them cannot be saved so that every program "
                "computes what was trained: leave it out, or train all weights (learner.lora=null)"
            )


def _module(parameter_name: str) -> str:
    return parameter_name.removesuffix(".weight").replace(".base_layer", "")


def check_peft() -> None:
    """Raise MissingDependencyError where peft is not installed."""
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise MissingDependencyError(
            "learner.lora needs the package peft: install it with pip install 'turnmix[lora]', or leave "
            "learner.lora out"
        )


def is_adapted(model: Any) -> bool:
    """Has `add_adapter` been at work on `model`?"""
    return hasattr(model, "peft_config")


def merged_weights(model: Any) -> dict[str, Tensor]:
    """The state dict that the unadapted model would have with the matrices added to its own."""
    merged = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.state_dict().items()
        if ".lora_" not in name
    }
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            merged[f"{name}.weight"] = merged[f"{name}.weight"] + module.get_delta_weight(_NAME).detach()
    return merged


def save_adapter(model: Any, directory: Path) -> None:
    """Write the matrices as peft does."""
    directory.mkdir()
    weights = {
        _PREFIX + name.replace(f".{_NAME}.", ".").removesuffix(f".{_NAME}"): tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if ".lora_" in name
    }
    save_file(weights, directory / _WEIGHTS_FILE, metadata={"format": "pt"})
    model.peft_config[_NAME].save_pretrained(directory)


def read_adapter(directory: Path) -> dict[str, Tensor]:
    """The matrices by their names in an adapted model."""
    weights = load_file(directory / _WEIGHTS_FILE)
    return {_own_name(name.removeprefix(_PREFIX)): tensor for name, tensor in weights.items()}


def _own_name(name: str) -> str:
    """A matrix beside a linear layer is a layer itself, one beside an embedding a parameter."""
    return f"{name.removesuffix('.weight')}.{_NAME}" + (".weight" if name.endswith(".weight") else "")


def _is_linear(module: Any) -> bool:
    return isinstance(module, torch.nn.Linear)
