"""In: a wrong name of a setting. Out: the settings that may have been meant, searched over a whole recipe.

Names that other trainers use for the same thing are known here, and so are names for values.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from turnmix.core.doors import door_of
from turnmix.core.settings import Settings

MOST = 3
"""Settings offered at once."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "method": ("algorithm", "algo", "loss", "strategy", "trainer"),
    "seed": ("random_seed", "rng", "rng_seed"),
    "iterations": ("iteration", "total_iterations", "iters", "iter", "steps", "max_steps", "rounds"),
    "threads": ("cpu_threads", "torch_threads", "omp_threads"),
    "trackers": ("tracker", "wandb", "mlflow", "trackio", "logger", "loggers", "report_to", "log_with"),
    "tasks.path": ("data_path", "dataset_path", "train_file", "task_file", "tasks_file"),
    "tasks.dataset.rows": ("dataset_name", "hub_dataset", "dataset_id"),
    "sandbox.kind": ("docker", "podman", "bubblewrap", "bwrap", "container_kind", "runtime"),
    "sandbox.container.image": ("docker_image", "container_image"),
    "sandbox.memory_bytes": ("memory", "mem", "ram", "memory_limit"),
    "sandbox.wall_seconds": ("timeout", "sandbox_timeout"),
    "scaffold.tool_calls": ("tool_format", "tool_parser", "tool_call_parser", "function_calling"),
    "scaffold.prompt.system_file": ("system_prompt", "system"),
    "scaffold.prompt.user_file": ("user_prompt", "instance_template"),
    "scaffold.max_turns": (
        "turns",
        "max_steps",
        "max_rounds",
        "step_limit",
        "max_iterations",
        "horizon",
        "max_actions",
    ),
    "scaffold.max_tokens": ("max_prompt_length", "max_trajectory_tokens", "max_context_tokens"),
    "scaffold.no_output_seconds": ("command_timeout", "bash_timeout", "timeout"),
    "student.model": (
        *("model_name", "model_path", "model_name_or_path", "base_model", "pretrained", "policy"),
        *("student_model", "actor", "checkpoint"),
    ),
    "student.device": ("gpu", "gpus", "cuda", "device_map", "use_cuda", "accelerator"),
    "student.max_new_tokens": ("max_completion_length", "max_response_length", "max_completion_tokens"),
    "student.cohort_size": ("rollout_batch_size", "generation_batch_size"),
    "student.temperature": ("temp", "sampling_temperature"),
    "student.top_p": ("nucleus", "topp"),
    "student.dtype": ("torch_dtype", "inference_dtype"),
    "student.server": ("vllm", "use_vllm", "inference_server", "sglang"),
    "student.server.arguments": ("vllm_args", "server_args", "engine_args"),
    "teacher.kind": ("oracle", "expert", "use_oracle"),
    "teacher.model": ("teacher_model", "expert_model"),
    "teacher.endpoint": (
        *("url", "base_url", "api_base", "api_url", "openai_base_url", "openai_api_base"),
        *("teacher_url", "host"),
    ),
    "teacher.api_key_environment": ("api_key_env", "api_key_variable", "key_env"),
    "mixture.start": ("beta_start", "initial_beta", "beta_0", "beta_max"),
    "mixture.floor": ("beta_min", "min_beta", "teacher_share", "teacher_ratio", "mix_ratio"),
    "mixture.schedule": (
        "beta_schedule",
        "beta_scheduler",
        "kappa_schedule",
        "scheduler",
        "annealing",
        "anneal",
    ),
    "mixture.decay": ("beta_decay", "beta_schedule", "decay_rate", "gamma"),
    "mixture.every": ("decay_every", "step_every"),
    "mixture.support": ("kappa", "switch_turn"),
    "mixture.student_share": (
        *("lambda", "lmbda", "lambda_", "gkd_lambda", "on_policy_fraction", "on_policy_ratio"),
        *("student_ratio", "student_fraction", "student_data_fraction"),
    ),
    "rollouts.tasks_per_iteration": (
        *("rollout_tasks", "num_tasks", "tasks_per_batch", "num_prompts", "prompts_per_step"),
        "num_rollouts",
    ),
    "rollouts.samples_per_task": (
        *("group_size", "num_generations", "rollouts_per_task", "rollout_n", "samples", "n", "g"),
        "num_samples",
    ),
    "rollouts.concurrency": ("workers", "num_workers", "parallel", "parallelism", "jobs", "max_workers"),
    "cluster.address": ("ray_address", "ray", "head"),
    "cluster.rollout_workers": ("num_rollout_workers", "num_rollout_actors", "actors", "nodes", "num_nodes"),
    "rollouts.attempts": ("retries", "max_retries"),
    "data.filter": ("keep", "rejection_sampling", "only_resolved", "filtering"),
    "data.dataset": ("aggregate", "aggregation", "replay", "replay_buffer"),
    "objective.clip_low": ("clip", "epsilon", "eps", "clip_range", "cliprange", "clip_eps", "clip_ratio"),
    "objective.clip_high": ("clip", "epsilon", "epsilon_high", "clip_ratio_high"),
    "objective.kl_weight": (
        "kl",
        "beta",
        "kl_coef",
        "kl_beta",
        "kl_coefficient",
        "init_kl_coef",
        "kl_loss_coef",
    ),
    "objective.divide_by_std": ("scale_rewards", "normalize_advantages", "normalise_advantages"),
    "learner.learning_rate": ("lr", "rate", "step_size", "actor_lr", "max_lr", "peak_lr"),
    "learner.schedule": ("scheduler", "lr_scheduler", "lr_scheduler_type", "lr_schedule"),
    "learner.warmup_ratio": ("warmup", "warmup_steps", "num_warmup_steps", "lr_warmup"),
    "learner.weight_decay": ("wd", "l2", "regularization"),
    "learner.betas": ("adam_betas", "adam_beta1", "adam_beta2", "beta1", "beta2"),
    "learner.gradient_clip": ("max_grad_norm", "grad_clip", "clip_grad", "gradient_clipping", "clip_norm"),
    "learner.batch_size": (
        *("batch", "bs", "train_batch_size", "global_batch_size", "mini_batch_size", "minibatch_size"),
        "per_device_train_batch_size",
    ),
    "learner.tokens_per_pass": (
        *("micro_batch_size", "gradient_accumulation", "gradient_accumulation_steps", "accumulation"),
        "max_tokens_per_gpu",
    ),
    "learner.epochs": (
        "epoch",
        "num_epochs",
        "num_train_epochs",
        "n_epochs",
        "total_epochs",
        "max_epochs",
        "ppo_epochs",
        "passes",
    ),
    "learner.dtype": ("bf16", "fp16", "precision", "mixed_precision", "training_dtype"),
    "learner.max_context": (
        *("max_length", "max_seq_length", "max_seq_len", "seq_len", "context", "context_length"),
        *("max_model_len", "cutoff_len"),
    ),
    "learner.gradient_checkpointing": ("activation_checkpointing", "recompute", "recomputation"),
    "learner.lora": ("peft", "use_lora", "adapter", "qlora"),
    "learner.lora.rank": ("lora_r", "lora_rank", "r"),
    "learner.lora.alpha": ("lora_alpha",),
    "learner.lora.target_modules": ("lora_target_modules", "lora_target"),
    "evaluation.tasks": ("eval_tasks", "num_eval", "eval_size", "val_size", "num_holdout"),
    "evaluation.every": (
        *("eval", "eval_every", "eval_steps", "eval_interval", "test_freq", "evaluate"),
        "eval_strategy",
    ),
    "evaluation.base": ("eval_base", "baseline", "eval_before_training", "val_before_train"),
}
"""Setting -> what others call it."""

_ELSEWHERE = {
    "beta": "β of iteration i is max(mixture.floor, mixture.start − mixture.decay·(i − 1)): set these; the weight of a "
    "KL term is objective.kl_weight",
    "optimizer": "the optimiser is AdamW, set by learner.learning_rate, learner.betas and learner.weight_decay",
    "output_dir": "where the run goes is no setting: add --run DIR",
    "resume": "a run is gone on with by `turnmix train --resume RUN`",
    "defaults": "a recipe file names the one recipe that it builds on at its top: extends: minirepo_dagger",
    "help": "each setting is explained by `turnmix train RECIPE --explain`",
}
_ELSEWHERE |= dict.fromkeys(("optim", "optimiser", "adam", "adamw"), _ELSEWHERE["optimizer"])
_ELSEWHERE |= dict.fromkeys(
    ("output", "output_path", "out", "run", "run_dir", "run_name", "save_dir", "logdir", "log_dir", "name"),
    _ELSEWHERE["output_dir"],
)
_ELSEWHERE |= dict.fromkeys(("resume_from", "resume_from_checkpoint", "continue"), _ELSEWHERE["resume"])

_VALUES = {
    "container": ("docker", "podman", "apptainer", "singularity", "k8s", "kubernetes", "image"),
    "bubblewrap": ("bwrap", "namespaces", "firejail"),
    "none": ("local", "host", "off", "unsandboxed", "false", "no"),
    "bfloat16": ("bf16", "torch.bfloat16"),
    "float16": ("fp16", "half", "torch.float16"),
    "float32": ("fp32", "float", "full", "torch.float32"),
    "resolved": ("passed", "passing", "success", "successful", "solved", "correct", "reward"),
    "submitted": ("finished", "done", "patch"),
    "all": ("none", "off", "everything", "false", "no", "any"),
    "constant": ("none", "flat", "fixed"),
    "exponential": ("exp", "geometric"),
    "step": ("staircase", "stepwise", "steps"),
    "endpoint": ("openai", "api", "http", "vllm", "sglang", "ollama", "anthropic", "litellm"),
    "local": ("hf", "huggingface", "transformers", "model"),
    "transformers": ("hf", "huggingface"),
    "oracle": ("expert", "gold"),
    "aggregate": ("aggregated", "dagger", "all", "replay"),
    "fresh": ("new", "online", "latest"),
    "sft": ("bc", "behavior_cloning", "behaviour_cloning", "rft", "rejection_sampling", "finetune"),
    "grpo": ("ppo", "rl", "rlvr", "dapo", "reinforce", "rloo"),
    "opd": ("gkd", "distill", "distillation", "kd", "on_policy_distillation"),
    "file": ("jsonl", "json", "path", "swe"),
    "execute_bash": ("bash", "shell", "terminal", "execute"),
    "str_replace_editor": ("editor", "edit", "str_replace", "file_editor"),
    "finish": ("submit", "done"),
    "native": ("json", "tools", "function", "functions"),
    "text": ("xml", "prompt", "plain"),
}
"""Value -> what others call it."""


def sections_of(field: FieldInfo, given: Any = None) -> list[type[Settings]]:
    """The settings classes that a field may hold: of a door those that are built in, and the plugin's that is `given`
    for it, where it is loaded."""
    if (door := door_of(field)) is None:
        return list(settings_in(field.annotation))
    chosen = door.known(given) if isinstance(given, Mapping) else None
    return list(dict.fromkeys([*door.kinds.values(), *([] if chosen is None else [chosen])]))


def settings_in(annotation: Any) -> Iterator[type[Settings]]:
    """The settings classes that a value of this type may be."""
    origin = get_origin(annotation)
    if origin is None and isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    elif origin in (Union, types.UnionType, Annotated):
        for argument in get_args(annotation):
            yield from settings_in(argument)


def setting_names(settings: type[Settings], given: Any = None) -> list[str]:
    """The dotted names of all settings below `settings`, sections included, in order and each once; with those of the
    plugins that are `given`, as far as they are loaded."""
    return list(dict.fromkeys(name for name, _ in _walk(settings, "", given)))


def choices(settings: type[Settings], name: str) -> list[str]:
    """The fixed values of the setting with this dotted name; none where it has no fixed values."""
    found = [
        value for each, annotation in _walk(settings, "") if each == name for value in _fixed(annotation)
    ]
    return list(dict.fromkeys(found))


def meant(name: str, settings: type[Settings], given: Any = None) -> list[str]:
    """The settings that a wrong dotted name may have meant, likeliest first; `MOST` at most.

    The whole tree is searched by the last part of the name: as it is, as others call it, nearly as it is.
    """
    known = setting_names(settings, given)
    section, _, last = _plain(name).rpartition(".")
    same = [each for each in known if each.rpartition(".")[2] == last]
    called = [setting for setting, others in SYNONYMS.items() if last in others and setting in known]
    if found := [*same, *(each for each in called if each not in same)]:
        # Those of the section that was named come first: `student.temp` is not the teacher's.
        found.sort(key=lambda each: not (section and each.startswith(f"{section}.")))
        # A setting of a section within a section is seldom what a bare name means.
        deepest = max(1, min(each.count(".") for each in found))
        return [each for each in found if each.count(".") <= deepest or section][:MOST]
    lasts = list(dict.fromkeys(each.rpartition(".")[2] for each in known))
    close = difflib.get_close_matches(last, lasts, n=1, cutoff=0.75)
    return [each for each in known if each.rpartition(".")[2] in close][:MOST]


def is_called(name: str, setting: str) -> bool:
    """Is `name` another name of this setting, and not only nearly its own?"""
    last = _plain(name).rpartition(".")[2]
    return last == setting.rpartition(".")[2] or last in SYNONYMS.get(setting, ())


def told_elsewhere(name: str) -> str | None:
    """What is said of a wrong name that is no setting's, but has its place elsewhere."""
    section, _, last = _plain(name).rpartition(".")
    return None if f"{section}.{last}" == "objective.beta" else _ELSEWHERE.get(last)


def meant_value(value: str, known: list[str]) -> str | None:
    """Which of the known values another word may have meant."""
    plain = _plain(value)
    if (same := next((each for each in known if each.lower() == plain), None)) is not None:
        return same
    called = [each for each in known if plain in _VALUES.get(each, ())]
    close = called or difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    return close[0] if close else None


def _walk(settings: type[Settings], above: str, given: Any = None) -> Iterator[tuple[str, Any]]:
    for name, field in settings.model_fields.items():
        yield f"{above}{name}", field.annotation
        held = given.get(name) if isinstance(given, Mapping) else None
        for section in sections_of(field, held):
            yield from _walk(section, f"{above}{name}.", held)


def _fixed(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (str(value) for value in get_args(annotation))
    elif annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) in (Union, types.UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _fixed(argument)


def _plain(name: str) -> str:
    """As settings are written: `Learning-Rate` and `learningRate` are learning_rate."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return snake.replace("-", "_").replace(" ", "_").lower()
