"""In: the name of a device in a recipe. Out: the device, or what to write, install or look at instead."""

from __future__ import annotations

import torch

from turnmix.core.errors import UserError

_GPU_NAMES = ("gpu", "cuda", "nvidia", "amd", "rocm", "hip")


def check_device(name: str, *, field: str) -> torch.device:
    """The device of that name; `field` is where the recipe names it.

    Raises:
        UserError: there is no such kind of device, or none here.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda" and torch.cuda.is_available():
            # A tensor would open the first card, in every process that learns on another one.
            if (device.index or 0) < torch.cuda.device_count():
                return device
            raise RuntimeError
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        remedy = _remedy(
            name,
            version=torch.__version__,
            is_built_for_gpus=torch.version.cuda is not None or torch.version.hip is not None,
            num_gpus=torch.cuda.device_count(),
        )
        raise UserError(f"{field}: {name!r}: {remedy}") from None
    return device


def _remedy(name: str, *, version: str, is_built_for_gpus: bool, num_gpus: int) -> str:
    """
    >>> _remedy("cuda:2", version="2.9.0", is_built_for_gpus=True, num_gpus=2)
    'there are 2 GPUs here: write one of cuda:0 to cuda:1'
    """
    kind = name.strip().lower().partition(":")[0]
    if kind not in _GPU_NAMES:
        return "must be cpu, cuda or, of several GPUs, such as cuda:1"
    write = "" if kind == "cuda" else "write cuda, and "
    if not is_built_for_gpus:
        return (
            f"this PyTorch ({version}) is a build for CPUs alone: {write}install one for your GPU "
            "(pip install --force-reinstall torch, with the index that https://pytorch.org/get-started/locally "
            "names), or use cpu"
        )
    if not num_gpus:
        return (
            f"PyTorch {version} finds no GPU here: {write}look at nvidia-smi, the driver and "
            "CUDA_VISIBLE_DEVICES, or use cpu"
        )
    if kind != "cuda":
        return "write cuda"
    return (
        "write cuda"
        if num_gpus == 1
        else f"there are {num_gpus} GPUs here: write one of cuda:0 to cuda:{num_gpus - 1}"
    )
