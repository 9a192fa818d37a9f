"""The learner: what it optimises, that it is deterministic, and which models it refuses."""

import random
from dataclasses import replace

import pytest
import torch
from tiny_student import (
    SIZES,
    CharacterRenderer,
    batch,
    digest,
    fitted,
    flat,
    settings,
    tiny_model,
    transition,
)
from transformers import (
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from limited_memory import memory_for
from turnmix.core.errors import UserError
from turnmix.training.learner import Learner
from turnmix.training.objective import Objective
from turnmix.training.objective_settings import ReverseKlSettings
from turnmix.training.optimizer import learning_rate


def test_learning_lowers_the_loss_and_reports_what_it_did():
    steps = []
    learner = Learner(tiny_model(), CharacterRenderer(), settings(epochs=10, learning_rate=3e-3))
    transitions = batch()
    report = learner.fit(transitions, generator=random.Random(0), on_step=steps.append)
    assert report.last_epoch_loss < 0.5 * report.first_epoch_loss
    assert report.transitions == 24
    assert report.label_tokens == sum(len(item.target.message.content) + 1 for item in transitions)
    assert report.tree_tokens < report.separate_tokens
    assert report.steps == learner.steps == 30  # 10 epochs × 6 trajectories / 2
    assert [step.step for step in steps] == list(range(1, 31))


def test_one_step_is_adamw_on_the_mean_over_the_label_tokens_of_separate_transitions():
    transitions = [*batch(3), transition(["x"], "down", weight=-0.5, trajectory="z")]
    trained, report = fitted(transitions, batch_size=4, epochs=1, gradient_clip=None)

    expected, renderer = tiny_model(), CharacterRenderer()
    optimizer = torch.optim.AdamW(expected.parameters(), lr=1e-3, weight_decay=0.0)
    total, num_labels = torch.zeros(()), 0
    for item in transitions:
        prompt = renderer.prompt_ids(item.state)
        target = renderer.target_ids(item.state, item.target)
        logits = expected(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        total = total + item.weight * torch.nn.functional.cross_entropy(
            logits, torch.tensor(target), reduction="sum"
        )
        num_labels += len(target)
    (total / num_labels).backward()
    optimizer.step()

    assert report.first_epoch_loss == pytest.approx(total.item() / num_labels, rel=1e-5)
    update = flat(expected) - flat(tiny_model())
    assert (flat(trained) - flat(expected)).norm() / update.norm() < 1e-3  # Adam divides rounding by itself


@pytest.mark.parametrize("tokens_per_pass", [40, 100, 10_000])
def test_the_gradient_does_not_depend_on_how_trees_are_grouped_or_split(tokens_per_pass):
    norms = []
    for budget in (tokens_per_pass, 300):
        learner = Learner(tiny_model(), CharacterRenderer(), settings(tokens_per_pass=budget, batch_size=6))
        learner.fit(
            batch(), generator=random.Random(0), on_step=lambda step: norms.append(step.gradient_norm)
        )
    half = len(norms) // 2
    assert norms[0] == pytest.approx(norms[half], rel=1e-5)


@pytest.mark.parametrize("tokens_per_pass", [60, 10_000])
def test_a_step_has_batch_size_trajectories_and_the_same_ones_whatever_shares_a_tree(tokens_per_pass):
    """Twelve rollouts, four of each task, five a step."""
    transitions = [replace(item, task_id=str(int(item.trajectory_id) % 3)) for item in batch(12)]
    trained, losses, rows = {}, {}, {}
    for tree in ("trajectory", "task"):
        steps, model = [], tiny_model()
        changes = {"tree": tree, "batch_size": 5, "epochs": 2, "tokens_per_pass": tokens_per_pass}
        learner = Learner(model, CharacterRenderer(), settings(**changes))
        report = learner.fit(transitions, generator=random.Random(0), on_step=steps.append)
        trained[tree], losses[tree], rows[tree] = (
            flat(model),
            [step.loss for step in steps],
            report.tree_tokens,
        )
        assert report.steps == 6  # 2 epochs of 12 / 5 steps, rounded up
    assert losses["task"] == pytest.approx(losses["trajectory"], rel=1e-4)
    update = trained["trajectory"] - flat(tiny_model())
    assert (
        trained["task"] - trained["trajectory"]
    ).norm() / update.norm() < 1e-2  # Adam divides rounding by itself
    if tokens_per_pass > 100:
        assert rows["task"] < rows["trajectory"]


def test_a_fit_reports_what_its_passes_computed():
    """Labels that are longer than the executed path, so that a budget of half the tree is kept."""
    transitions = [transition(["x" * 20] + ["ab"] * turn, chr(97 + turn) * 60) for turn in range(6)]
    whole = fitted(transitions)[1].tree_tokens
    for budget, is_split in ((whole, False), (whole // 2, True), (1, True)):
        report = fitted(transitions, tokens_per_pass=budget)[1]
        passes = report.passes
        assert (passes["budget_rows"], passes["ranks"], passes["idle_rows"]) == (budget, 1, 0)
        assert passes["largest_tree_rows"] == whole
        assert passes["longest_rows"] == 1 + 21 + 5 * 3 + 61 - 1
        assert passes["rows"] == 2 * report.tree_tokens  # of two epochs
        assert passes["repeated_rows"] == 2 * (report.tree_tokens - whole) <= 0.5 * whole
        assert (passes["largest_rows"] < whole) == (passes["repeated_rows"] > 0) == is_split


def test_a_pass_for_which_there_is_no_memory_ends_in_one_line_with_what_helps():
    model = Qwen3ForCausalLM(Qwen3Config(**{**SIZES, "max_position_embeddings": 65_536}, head_dim=8))
    learner = Learner(model, CharacterRenderer(), settings())
    long = transition(["x" * 12_000], "open")
    with (
        memory_for(16 << 20),
        pytest.raises(UserError, match="no memory left for passes of 12,006 rows") as told,
    ):
        learner.fit([long], generator=random.Random(0))
    (line,) = told.value.lines
    assert line.endswith(
        "set learner.gradient_checkpointing=true, or learner.dtype=bfloat16, or learner.lora={}, or "
        "learner.max_context below 12007, which leaves longer transitions out"
    )


def test_the_order_of_trees_comes_from_the_generator():
    assert digest(fitted(batch(), seed=0)[0]) == digest(fitted(batch(), seed=0)[0])
    assert digest(fitted(batch(), seed=0)[0]) != digest(fitted(batch(), seed=1)[0])


def test_a_transition_longer_than_the_context_is_dropped_and_counted():
    long, short = transition(["x" * 300], "open", trajectory="long"), transition(["x"], "open")
    model, report = fitted([long, short])
    assert (report.transitions, report.dropped_too_long, report.label_tokens) == (2, 1, 5)
    assert digest(model) == digest(fitted([short])[0])


def test_a_transition_too_long_to_be_scored_is_dropped_and_one_that_lacks_its_scores_is_no_mistake_to_hide():
    long = transition(["x" * 300], "open", trajectory="long")
    short = replace(transition(["x"], "open"), reference_logprobs=(-1.0,) * 5)
    objective = Objective(ReverseKlSettings())
    learner = Learner(tiny_model(), CharacterRenderer(), settings(), objective=objective)
    report = learner.fit([long, short], generator=random.Random(0))
    assert (report.dropped_too_long, report.label_tokens) == (1, 5)
    with pytest.raises(ValueError, match="a: the objective needs reference_logprobs"):
        learner.fit([transition(["x"], "open")], generator=random.Random(0))


def test_nothing_to_learn_from_changes_nothing_and_computes_no_loss():
    model, report = fitted([transition(["x"], "open", weight=0.0)])
    assert report.steps == 0
    assert report.first_epoch_loss is None
    assert digest(model) == digest(tiny_model())


def test_a_cosine_schedule_rises_through_its_warmup_and_falls_to_nearly_nothing():
    rates = []
    learner = Learner(
        tiny_model(),
        CharacterRenderer(),
        settings(schedule="cosine", warmup_ratio=0.25, epochs=4, batch_size=3),
    )
    learner.fit(batch(), generator=random.Random(0), on_step=lambda step: rates.append(step.learning_rate))
    # 8 steps: 2 of warm-up, then 1e-3 · (1 + cos(π · i / 6)) / 2
    assert rates[:3] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert rates[5] == pytest.approx(5e-4)
    assert rates[-1] == pytest.approx(1e-3 * 0.0669873, rel=1e-4)


def test_a_cosine_schedule_ends_at_the_least_rate():
    chosen = settings(schedule="cosine", min_learning_rate=1e-4)
    rates = [learning_rate(chosen, step, 4) for step in range(5)]
    assert rates == pytest.approx([1e-3, 1e-4 + 9e-4 * 0.8535534, 5.5e-4, 1e-4 + 9e-4 * 0.1464466, 1e-4])


def test_a_gradient_is_clipped_to_the_limit():
    """One step of plain SGD would show it best; with AdamW the report must still give the norm before
    clipping."""
    norms = {}
    for limit in (None, 1e-3):
        steps = []
        learner = Learner(
            tiny_model(), CharacterRenderer(), settings(gradient_clip=limit, epochs=1, batch_size=6)
        )
        learner.fit(batch(), generator=random.Random(0), on_step=steps.append)
        moment = learner.state_dict()["optimizer"]["state"]["model.embed_tokens.weight"]["exp_avg"]
        norms[limit] = (steps[0].gradient_norm, moment.norm().item())
    assert norms[None][0] == pytest.approx(norms[1e-3][0])
    assert norms[1e-3][1] <= 0.1 * 1e-3 * 1.001  # (1 − β₁) · limit
    assert norms[None][1] > norms[1e-3][1]


def test_bfloat16_passes_learn_nearly_the_same_and_leave_float32_weights():
    model, report = fitted(batch(), dtype="bfloat16", epochs=1)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert report.first_epoch_loss == pytest.approx(fitted(batch(), epochs=1)[1].first_epoch_loss, rel=1e-2)


def test_what_runs_from_layer_to_layer_is_as_short_as_the_passes_and_only_in_them():
    model, entered = tiny_model(), []
    learner = Learner(model, CharacterRenderer(), settings(dtype="bfloat16"))
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda layer, arguments: entered.append(arguments[0].dtype))
    learner.fit(batch(2), generator=random.Random(0))
    assert set(entered) == {torch.bfloat16}
    entered.clear()
    model(input_ids=torch.tensor([[1, 2, 3]]))
    assert set(entered) == {torch.float32}


def test_generation_attends_as_before_after_a_fit():
    model = tiny_model()
    before = model.config._attn_implementation
    Learner(model, CharacterRenderer(), settings()).fit(batch(2), generator=random.Random(0))
    assert model.config._attn_implementation == before


def test_a_llama_is_accepted():
    Learner(LlamaForCausalLM(LlamaConfig(**SIZES)), CharacterRenderer(), settings())


def test_a_sliding_window_is_refused_by_name():
    model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=16))
    with pytest.raises(UserError, match=r"'mistral' cannot be trained exactly .*sliding_window=16"):
        Learner(model, CharacterRenderer(), settings())


def test_layers_other_than_full_attention_are_refused_by_name():
    config = Qwen3Config(**SIZES, head_dim=8, use_sliding_window=True, sliding_window=16, max_window_layers=1)
    with pytest.raises(UserError, match="layer_types include sliding_attention"):
        Learner(Qwen3ForCausalLM(config), CharacterRenderer(), settings())


def test_a_model_that_scales_its_logits_is_refused_because_its_tree_logits_differ():
    model = GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=8.0))
    with pytest.raises(UserError, match="gives other logits on a token tree"):
        Learner(model, CharacterRenderer(), settings())


def test_a_context_beyond_the_models_own_is_refused():
    with pytest.raises(UserError, match="max_context is 512, but the student reads 256 tokens"):
        Learner(tiny_model(), CharacterRenderer(), settings(max_context=512))


def test_gradient_checkpointing_computes_each_layer_again_and_gives_the_same_weights():
    calls = []
    model = tiny_model()
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    learner = Learner(model, CharacterRenderer(), settings(gradient_checkpointing=True, epochs=1))
    calls.clear()
    learner.fit(batch(2), generator=random.Random(0))
    assert len(calls) == 2  # one step of one pass: forward, and again in the backward pass
    assert digest(model) == digest(fitted(batch(2), epochs=1)[0])
    assert not any(module.training for module in model.modules())
