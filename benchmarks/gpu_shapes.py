"""The models and trees of the record on a GPU: Qwen3-4B's shape with random weights, and a small one for a CPU."""

import statistics
import time

import torch
from synthetic_rollout import Rollout
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import flex_attention
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from turnmix.training import attention_flex


def qwen3_4b(**changes):
    return Qwen3Config(
        **{
            "vocab_size": 151_936,
            "hidden_size": 2560,
            "num_hidden_layers": 36,
            "intermediate_size": 9728,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 131_072,
            "tie_word_embeddings": True,
            **changes,
        }
    )


def small_qwen3(**changes):
    small = {
        "vocab_size": 500,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    return qwen3_4b(**{**small, **changes})


def random_model(config, device, dtype=torch.float32):
    """Made where it is used: initialising billions of weights on a host would take minutes."""
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config).to(dtype)
    model.to_empty(device=device)
    with torch.device(device):
        model.model.rotary_emb = Qwen3RotaryEmbedding(config)  # no weights, but buffers
    model.tie_weights()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02)
            else:
                parameter.fill_(1)
    return model.eval()


def rollout_of(num_rows, *, turns=None, label=None, beta=0.5):
    """One whose tree has `num_rows` rows, or a few less: observations as long as that takes. Left out: a coding
    agent's turns, 100 of 120 label tokens in 65,536 rows."""
    label = label or (120 if num_rows >= 8192 else 8)
    turns = turns or max(4, num_rows // 655)
    prompt = num_rows // 32
    branches = (turns - int(turns * beta)) * (label - 1)
    observation = (num_rows - prompt - branches) // turns - label
    return Rollout(turns=turns, beta=beta, prompt=prompt, action=label, observation=observation)


def use_kernel(*, dynamic=None, **options):
    """FlexAttention from now on, compiled anew. `dynamic`: as in torch.compile; `options`: the kernel's own."""
    torch._dynamo.reset()
    kernel = torch.compile(flex_attention, fullgraph=True, dynamic=dynamic)
    attention_flex._compiled_kernel = lambda: kernel
    attention_flex.KERNEL_OPTIONS = options


def compilations():
    return counters["stats"]["unique_graphs"]


def synchronized(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(act, device, *, repeats=3):
    """The median; the first call is not counted."""
    act()
    taken = []
    for _ in range(repeats):
        synchronized(device)
        began = time.perf_counter()
        act()
        synchronized(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def matrix_product_rate(device):
    """FLOP a second that a large product in bfloat16 reaches on this card: what shares are taken of."""
    size = 8192 if device == "cuda" else 512
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: left @ right, device, repeats=10)


def peak_gigabytes(device):
    """Allocated, and taken from the card, since the last reset."""
    if device != "cuda":
        return 0.0, 0.0
    return torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9


def reset_peak(device):
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def rounded(value, digits=3):
    return float(f"{value:.{digits}g}")
