"""Recipes: defaults, overrides, and mistakes reported so that they can be mended."""

import subprocess
import sys

import pytest

from turnmix.core.errors import RecipeError
from turnmix.methods.registry import METHODS
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml
from turnmix.recipe.setting_search import SYNONYMS, meant, setting_names


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_recipe(text, name="one.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write_recipe


def complaint(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def test_a_method_brings_its_mixture_and_filter(write):
    path = write("method: sft")
    assert (load_recipe(path).mixture.kind, load_recipe(path).data.filter) == ("teacher", "resolved")
    dagger = load_recipe(path, ["method=dagger"])
    assert (dagger.mixture.kind, dagger.mixture.floor, dagger.data.filter) == ("dagger", 0.6, "submitted")


def test_a_method_brings_its_objective_and_its_rollouts_of_a_task(write):
    grpo = load_recipe(write("method: grpo\nobjective: {clip_high: 0.28}"))
    assert (grpo.objective.kind, grpo.objective.clip_low, grpo.objective.clip_high) == (
        "clipped_ratio",
        0.2,
        0.28,
    )
    assert (grpo.objective.divide_by_std, grpo.objective.kl_weight) == (True, 0)
    assert (grpo.rollouts.samples_per_task, grpo.mixture.kind, grpo.data.filter) == (8, "student", "all")
    opd = load_recipe(write("method: opd\nteacher: {model: m}"))
    assert (opd.objective.estimate, opd.teacher.kind, opd.rollouts.samples_per_task) == (
        "sampled",
        "local",
        1,
    )
    assert [(each.student.temperature, each.student.top_p) for each in (grpo, opd)] == [(1, 1)] * 2
    top_k = load_recipe(write("method: opd\nteacher: {model: m}\nobjective: {estimate: top_k}"))
    assert top_k.objective.top_k == 64


def test_behind_a_server_the_base_student_is_measured_before_it_learns(write):
    path = write("method: sft\nevaluation: {base: late, tasks: 3}")
    assert load_recipe(path).evaluation.base == "late"
    served = load_recipe(path, ["student.server.engine=transformers"]).evaluation
    assert (served.base, served.tasks) == (True, 3)


def test_one_temperature_serves_all_methods(write):
    path = write("student: {temperature: 0.7}\nteacher: {model: m}")
    recipes = [load_recipe(path, [f"method={method}"]) for method in METHODS]
    assert {recipe.student.temperature for recipe in recipes} == {0.7}


def test_distillation_with_a_ratio_brings_its_clip(write):
    opd = load_recipe(write("method: opd\nteacher: {model: m}\nobjective: {ratio: true, clip_high: 0.5}"))
    assert (opd.objective.clip_low, opd.objective.clip_high, opd.objective.dual_clip) == (0.2, 0.5, None)
    assert load_recipe(write(recipe_yaml(opd), "resolved.yaml")) == opd


def test_what_is_given_of_a_section_stays_and_the_method_fills_in_the_rest(write):
    recipe = load_recipe(write("method: dagger\nmixture: {floor: 0.1}\ndata: {dataset: aggregate}"))
    assert (recipe.mixture.kind, recipe.mixture.decay, recipe.mixture.floor) == ("dagger", 0.2, 0.1)
    assert (recipe.data.dataset, recipe.data.filter) == ("aggregate", "submitted")


def test_overrides_are_dotted_paths_with_yaml_values_and_the_last_one_wins(write):
    path = write("method: dagger\nlearner: {epochs: 2}")
    recipe = load_recipe(
        path, ["learner.epochs=4", "learner.epochs=5", "learner.learning_rate=1e-3", "scaffold.tools=[think]"]
    )
    assert (recipe.learner.epochs, recipe.learner.learning_rate) == (5, 0.001)
    assert [tool.kind for tool in recipe.scaffold.tools] == ["think"]


def test_one_name_or_several_with_commas_stand_for_a_list_of_names(write):
    path = write("method: sft\ntrackers: wandb")
    assert load_recipe(path).trackers == ("wandb",)
    recipe = load_recipe(path, ["trackers=wandb, mlflow", "scaffold.tools=think"])
    assert recipe.trackers == ("wandb", "mlflow")
    assert [tool.kind for tool in recipe.scaffold.tools] == ["think"]


def test_an_endpoint_makes_the_teacher_an_endpoint(write):
    recipe = load_recipe(
        write("method: dagger"), ["teacher.endpoint=http://localhost:1/v1", "teacher.model=m"]
    )
    assert recipe.teacher.kind == "endpoint"


def test_a_recipe_is_found_by_its_bare_name(write):
    write("method: sft", "recipes/mine.yaml")
    assert load_recipe("mine").method == "sft"
    assert complaint("mime") == (
        "recipe 'mime' not found, neither as a file nor as recipes/mime.yaml; did you mean 'mine'?"
    )


def test_the_resolved_recipe_reads_back_as_itself(write):
    recipe = load_recipe(write("method: aggrevate\nmixture: {support: [2, 7]}"))
    assert load_recipe(write(recipe_yaml(recipe), "resolved.yaml")) == recipe


def test_credentials_of_an_endpoint_are_not_in_the_resolved_recipe(write):
    path = write("method: dagger\nteacher: {endpoint: 'https://me:hush@host/v1', model: m}")
    assert load_recipe(path).teacher.endpoint == "https://me:hush@host/v1"
    assert "hush" not in recipe_yaml(load_recipe(path))


def told(path, *overrides):
    """A recipe, and what is said of it."""
    lines = []
    return load_recipe(path, overrides, say=lines.append), lines


def test_an_override_of_the_method_leaves_out_what_the_file_said_for_its_own_and_says_so(write):
    path = write(
        "method: dagger\nmixture: {kind: dagger, floor: 0.5}\ndata: {filter: all, dataset: aggregate}\n"
        "objective: {kl_weight: 0.1}\nlearner: {epochs: 1}"
    )
    sft, lines = told(path, "method=sft")
    assert (sft.mixture.kind, sft.data.filter) == ("teacher", "resolved")
    assert (sft.data.dataset, sft.objective.kl_weight, sft.learner.epochs) == ("aggregate", 0.0, 1)
    assert lines == [
        f"method=sft: mixture, data.filter and objective of {path} are left out, since they belong to dagger"
    ]
    assert told(path, "method=dagger") == (load_recipe(path), [])


def test_what_is_given_beside_an_override_of_the_method_counts_and_is_checked(write):
    path = write("method: sft\ndata: {filter: all}")
    dagger, lines = told(path, "mixture.floor=0.1", "method=dagger", "data.filter=resolved")
    assert (dagger.mixture.floor, dagger.data.filter) == (0.1, "resolved")
    assert lines == [f"method=dagger: data.filter of {path} is left out, since it belongs to sft"]
    assert "mixture.kind: 'aggrevate': dagger learns from rollouts of the mixture 'dagger' or 'student'" in (
        complaint(path, "method=dagger", "mixture.kind=aggrevate")
    )
    assert "data.filter: 'resolved': grpo compares" in complaint(path, "method=grpo", "data.filter=resolved")


def test_from_a_method_that_imitates_to_one_that_weighs_its_own_tokens_and_back_is_one_word(write):
    path = write("method: dagger\nstudent: {top_p: 0.9, temperature: 1.0}\nrollouts: {samples_per_task: 1}")
    grpo, lines = told(path, "method=grpo")
    assert (grpo.student.top_p, grpo.rollouts.samples_per_task, grpo.mixture.kind) == (1.0, 8, "student")
    assert lines == [
        f"method=grpo: rollouts.samples_per_task and student.top_p of {path} are left out, since they belong to dagger"
    ]
    resolved = write(recipe_yaml(grpo), "resolved.yaml")
    back, _ = told(resolved, "method=dagger")
    assert (back.mixture.kind, back.rollouts.samples_per_task, back.objective.kind) == (
        "dagger",
        1,
        "cross_entropy",
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("start", METHODS)
def test_every_resolved_recipe_becomes_that_of_any_other_method_by_one_word(write, start, method):
    teacher = ["teacher.model=nano-teacher"]
    whole = write(recipe_yaml(load_recipe(write(f"method: {start}"), teacher)), "whole.yaml")
    changed, fresh = (
        load_recipe(whole, [f"method={method}"]),
        load_recipe(write(f"method: {method}"), teacher),
    )
    if start != method:  # a temperature that the file says serves every method
        fresh = fresh.model_copy(update={"student": changed.student})
    assert changed == fresh


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("method: grpo\ndata: {filter: submitted}", "data.filter = submitted: grpo then compares"),
        ("method: opd\nteacher: {model: m}", "data.filter = submitted: opd then learns in none"),
        (
            "method: opd\nteacher: {model: m}\ndata: {filter: all, dataset: aggregate}",
            "data.dataset = aggregate: opd with objective.estimate = sampled",
        ),
        ("method: opd\nteacher: {model: m}\ndata: {filter: all}", None),
        (
            "method: opd\nteacher: {model: m}\ndata: {filter: all, dataset: aggregate}\nobjective: {ratio: true}",
            None,
        ),
        (
            "method: opd\nteacher: {model: m}\ndata: {filter: all, dataset: aggregate}\nobjective: {estimate: full}",
            None,
        ),
        ("method: dagger\ndata: {filter: all, dataset: aggregate}", None),
    ],
)
def test_what_a_recipe_may_do_but_better_knows_of_is_said(write, text, doubt):
    _, lines = told(write(text))
    assert [line.startswith(str(doubt)) for line in lines] == ([] if doubt is None else [True])


def test_a_recipe_may_extend_another_one_beside_it_key_by_key(write):
    write("seed: 3\nlearner: {epochs: 1, betas: [0.5, 0.6]}\nscaffold: {max_turns: 9}", "recipes/below.yaml")
    write("extends: below.yaml\nmethod: sft\nlearner: {epochs: 2}", "recipes/above.yaml")
    recipe = load_recipe("above", ["learner.batch_size=4"])
    assert (recipe.seed, recipe.scaffold.max_turns) == (3, 9)
    assert (recipe.learner.epochs, recipe.learner.betas, recipe.learner.batch_size) == (2, (0.5, 0.6), 4)
    assert "extends" not in recipe_yaml(recipe)


def test_a_recipe_of_ones_own_may_extend_a_shipped_one_by_its_name(write):
    path = write("extends: minirepo\nmethod: dagger\nlearner: {epochs: 1}", "mine.yml")
    assert (load_recipe(path).student.max_new_tokens, load_recipe(path).learner.epochs) == (96, 1)


def test_a_recipe_of_the_name_of_one_that_comes_with_the_package_extends_that_one(write):
    mine = write("extends: minirepo_sft\nlearner: {epochs: 7}", "minirepo_sft.yaml")
    assert (load_recipe(mine).method, load_recipe(mine).learner.epochs) == ("sft", 7)


def test_a_file_of_another_method_extends_what_does_not_belong_to_the_first_ones(write):
    write("method: dagger\nmixture: {floor: 0.3}\nlearner: {epochs: 1}", "below.yaml")
    sft, lines = told(write("extends: below.yaml\nmethod: sft", "above.yaml"))
    assert (sft.mixture.kind, sft.learner.epochs, len(lines)) == ("teacher", 1, 1)


def test_a_section_of_another_kind_replaces_the_one_below(write):
    write("method: sft\nteacher: {endpoint: 'http://x', model: m, max_attempts: 2}", "below.yaml")
    kept = load_recipe(write("extends: below.yaml\nteacher: {model: n}", "one.yaml")).teacher
    assert (kept.kind, kept.model, kept.max_attempts) == ("endpoint", "n", 2)
    assert (
        load_recipe(write("extends: below.yaml\nteacher: {kind: oracle}", "two.yaml")).teacher.kind
        == "oracle"
    )


def test_recipes_that_extend_each_other_wrongly_are_refused_by_name(write):
    first, second = write("extends: two.yaml", "one.yaml"), write("extends: one.yaml", "two.yaml")
    assert f"{first} → {second} → {first}: a circle: take one of them out" in complaint(first)
    itself = write("extends: mine.yaml", "mine.yaml")
    assert f"{itself} → {itself}: a circle: take one of them out" in complaint(itself)
    assert "extends: 3: must be the name or the path of one recipe" in complaint(write("extends: 3"))
    assert complaint("minirepo_sft", "method=[grpo]").startswith("method: ['grpo'] is not known: use one of")
    assert complaint("minirepo", "extends=minirepo_sft") == (
        "extends: 'minirepo_sft': belongs in a recipe file: write it there, or name that recipe instead of minirepo"
    )
    assert "extends: 'minirep' is not beside this file; recipe 'minirep' not found" in complaint(
        write("extends: minirep")
    )
    for number in range(9):
        write(f"extends: {number + 1}.yaml", f"{number}.yaml")
    write("method: sft", "9.yaml")
    assert "more than 8 files on each other" in complaint("0.yaml")
    assert load_recipe("2.yaml").method == "sft"
    wrong = complaint(write("extends: 9.yaml\nsed: 1", "wrong.yaml"))
    assert wrong.startswith("sed: unknown key; did you mean 'seed'? (in ")
    assert wrong.endswith("9.yaml)")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "method: dager",
            [f"method: 'dager' is not known: use one of {', '.join(METHODS)}; did you mean 'dagger'?"],
        ),
        (
            "method: [sft]",
            [f"method: ['sft'] is not known: use one of {', '.join(METHODS)}"],
        ),
        ("seed: 1", [f"method: not given: use one of {', '.join(METHODS)}"]),
        (
            "method: gkd\nteacher: {model: nano-teacher}\nobjective: {estimate: sampled}",
            [
                "objective.estimate: 'sampled': gkd teaches the teacher's tokens too, which the student did not "
            ],
        ),
        (
            "method: gkd",
            ["teacher.kind: 'oracle': gkd needs the teacher's log-probabilities of the student's tokens, "],
        ),
        (
            "method: reopd\nteacher: {model: nano-teacher}\nmixture: {kind: aggrevate}",
            ["mixture.kind: 'aggrevate': reopd learns from rollouts of the mixture 'teacher_prefix': leave "],
        ),
        (
            "method: dagger\nmixture: {schedule: constant, decay: 0.1}",
            [
                "mixture.decay = 0.1: the schedule constant has no decay: set it to null, or mixture.schedule to linear"
            ],
        ),
        (
            "method: dagger\nmixture: {student_share: 0.1}",
            [
                "mixture.student_share = 0.1: the dagger mixture has no student_share; leave it out: it belongs to the "
            ],
        ),
        ("method: sft\nsed: 1", ["sed: unknown key; did you mean 'seed'?"]),
        (
            "method: sft\nlearner: {learning_rat: 1}",
            ["learner.learning_rat: unknown key; did you mean 'learning_rate'?"],
        ),
        (
            "method: sft\nscaffold: {prompt: {xyz: 1}}",
            ["scaffold.prompt.xyz: unknown key; known keys: name, "],
        ),
        (
            "method: sft\nrollouts: {concurrency: 0}\niterations: x",
            [
                "iterations: 'x': must be a valid integer",
                "rollouts.concurrency: 0: must be greater than or equal to 1",
            ],
        ),
        (
            "method: sft\nteacher: {kind: oracl}",
            [
                "teacher.kind: 'oracl' is not known: use one of oracle, endpoint, local; did you mean 'oracle'?"
            ],
        ),
        (
            "method: sft\nteacher: {kind: oracle, endpoint: 'http://x'}",
            ["teacher.endpoint: unknown key of this kind; set teacher.kind to endpoint"],
        ),
        ("method: sft\nteacher: {endpoint: 'http://x'}", ["teacher.model: not given: add it"]),
        (
            "method: sft\nteacher: {endpoint: 'ftp://me:hush@x', model: m}",
            ["teacher.endpoint: '***@x': not an http"],
        ),
        (
            "method: sft\nteacher: {kind: oracle, model: m}",
            ["teacher.model: unknown key of this kind; set teacher.kind to endpoint or local"],
        ),
        (
            "method: grpo\nstudent: {top_p: 0.7}",
            ["student.top_p: 0.7: grpo weighs tokens by how likely they were, which holds for tokens"],
        ),
        (
            "method: opd\nteacher: {model: m}\nstudent: {top_p: 0.9}",
            ["student.top_p: 0.9: opd weighs tokens by how likely they were"],
        ),
        (
            "method: dagger\nlearner: {min_learning_rate: 1e-7}",
            [
                "learner.min_learning_rate = 1e-07: a constant schedule never falls: set learner.schedule to cosine"
            ],
        ),
        (
            "method: dagger\nlearner: {schedule: cosine, min_learning_rate: 1}",
            ["learner.min_learning_rate = 1.0: more than learner.learning_rate 3e-06: set it to less"],
        ),
        (
            "method: dagger\nlearner: {betas: [1.5, 0.9]}",
            ["learner.betas.0: 1.5: must be less than 1"],
        ),
        (
            "method: opd",
            ["teacher.kind: 'oracle': opd needs the teacher's log-probabilities of the student's"],
        ),
        (
            "method: opd\nteacher: {endpoint: 'http://x', model: m}\nobjective: {estimate: full}",
            [
                "objective.estimate: 'full': needs all of the teacher's logits, which the endpoint teacher does not"
            ],
        ),
        (
            "method: opd\nteacher: {model: m, device: cuda}\nobjective: {estimate: top_k}",
            ["teacher.device: 'cuda': with objective.estimate top_k the teacher runs beside the student"],
        ),
        (
            "method: opd\nteacher: {model: m}\nobjective: {top_k: 3}",
            ["objective.top_k = 3: set objective.estimate"],
        ),
        (
            "method: opd\nteacher: {model: m}\nobjective: {clip_low: 0.1}",
            ["objective.clip_low = 0.1: it clips a ratio: set objective.ratio to true"],
        ),
        (
            "method: opd\nteacher: {model: m}\nobjective: {ratio: true, estimate: full}",
            ["objective.ratio = True: estimate full sums over tokens instead of sampling them: leave it out"],
        ),
        (
            "method: grpo\nobjective: {ratio: true}",
            ["objective.ratio = True: the objective clipped_ratio has no ratio; leave it out"],
        ),
        (
            "method: sft\nobjective: {dual_clip: 3}",
            ["objective.dual_clip = 3: the objective cross_entropy has no dual_clip; leave it out"],
        ),
        (
            "method: sft\nlearner: {learning_rate: .inf, weight_decay: .nan}",
            ["learner.learning_rate: inf: must be a finite number", "learner.weight_decay: nan: must be"],
        ),
        ("method: grpo\nobjective: {dual_clip: 1}", ["objective.dual_clip: 1: must be greater than 1"]),
        (
            "method: sft\nobjective: {average: turn}",
            ["objective.average: 'turn': must be 'token' or 'trajectory'"],
        ),
        (
            "method: grpo\nobjective: {clip_hig: 1}",
            ["objective.clip_hig: unknown key; did you mean 'clip_high'?"],
        ),
        (
            "method: sft\nobjective: {clip_low: 0.1}",
            ["objective.clip_low = 0.1: the objective cross_entropy has no"],
        ),
        (
            "method: grpo\nobjective: {kind: cross_entropy}",
            ["objective.kind: 'cross_entropy': grpo is taught with clipped_ratio; leave it out"],
        ),
        ("method: gkd\nlambda: 0.5", ["lambda: unknown key; did you mean 'mixture.student_share'?"]),
        (
            "method: dagger\nbeta_schedule: exp",
            ["beta_schedule: unknown key; did you mean 'mixture.schedule' or 'mixture.decay'?"],
        ),
        (
            "method: dagger\nmixture: {schedule: exp}",
            [
                "mixture.schedule: 'exp': must be 'linear', 'exponential', 'step' or 'constant'; did you mean "
                "'exponential'?"
            ],
        ),
        ("method: sft\nlr: 0.1", ["lr: unknown key; did you mean 'learner.learning_rate'?"]),
        ("method: sft\nlearner: {lr: 0.1}", ["learner.lr: unknown key; did you mean 'learning_rate'?"]),
        (
            "method: sft\nlearning_rate: 0.1",
            ["learning_rate: unknown key; did you mean 'learner.learning_rate'?"],
        ),
        (
            "method: sft\nscaffold: {batchSize: 1}",
            ["scaffold.batchSize: unknown key; did you mean 'learner.batch_size'?"],
        ),
        ("method: sft\ntrainer: {total_epochs: 1}", ["trainer: unknown key; did you mean 'learner.epochs'?"]),
        ("method: grpo\nobjective: {beta: 1}", ["objective.beta: unknown key; did you mean 'kl_weight'?"]),
        ("method: sft\nscaffold: {tools: bash}", ["scaffold.tools.0: 'bash': must be execute_bash, str_"]),
        (
            "method: sft\nsandbox: {memory_bytes: 2GB}",
            ["sandbox.memory_bytes: '2GB': must be a valid integer, a number"],
        ),
        (
            "method: ppo",
            [f"method: 'ppo' is not known: use one of {', '.join(METHODS)}; did you mean 'gr"],
        ),
        ("method: sft\nmodel: m", ["model: unknown key; did you mean 'student.model' or 'teacher.model'?"]),
        ("method: sft\nstudent: {temp: 1}", ["student.temp: unknown key; did you mean 'temperature'?"]),
        ("method: dagger\nbeta: 0.5", ["beta: unknown key: β of iteration i is max(mixture.floor, mixture."]),
        (
            "method: dagger\nmixture: {beta: 1}",
            ["mixture.beta: unknown key: β of iteration i is max(mixture.floor"],
        ),
        (
            "method: sft\noutput_dir: x",
            ["output_dir: unknown key: where the run goes is no setting: add --run DIR"],
        ),
        (
            "method: sft\nsandbox: {kind: docker}",
            [
                "sandbox.kind: 'docker' is not known: use one of bubblewrap, container, none; did you mean 'container'?"
            ],
        ),
        (
            "method: sft\nsandbox: podman",
            ["sandbox: 'podman': must have keys of its own; did you mean {kind: cont"],
        ),
        (
            "method: sft\nteacher: {kind: openai}",
            ["teacher.kind: 'openai' is not known: use one of oracle, endpoint, "],
        ),
        (
            "method: sft\nlearner: {lora: true}",
            ["learner.lora: true: must have keys of its own; write {} for one with all its defaults"],
        ),
        (
            "method: sft\nlearner: {lora: {target_modules: q_proj}}",
            [
                "learner.lora.target_modules: 'q_proj': must be 'all-linear', or must be a valid list: write [q_proj]"
            ],
        ),
        (
            "method: sft\nteacher: {api_key: hush}",
            ["teacher.api_key: unknown key: a key is no setting: put it in an"],
        ),
        ("method: sft\nseed: sk-hush-0123456789", ["seed: '***': must be a valid integer"]),
        ("method: sft\ntasks: {holdot: 3}", ["tasks.holdot: unknown key; did you mean 'holdout'?"]),
        (
            "method: sft\ntasks: {xyz: 3}",
            ["tasks.xyz: unknown key; known keys: source, train, holdout, seed, modules, bugs"],
        ),
        (
            "method: sft\ntasks: {pth: own.jsonl}",
            ["tasks.pth: unknown key; did you mean 'path', a key where tasks.source is file?"],
        ),
        (
            "method: sft\ntasks: {dataset: {rows: SWE-Gym/SWE-Gym}}",
            ["tasks.dataset: unknown key of this source; set tasks.source to file, and give tasks.path"],
        ),
        (
            "method: sft\ntasks: {path: own.jsonl, bugs: [1, 2]}",
            [
                "tasks.bugs: unknown key of this source; set tasks.source to minirepo, and leave tasks.path out"
            ],
        ),
        (
            "method: sft\ntasks: {source: fil}",
            [
                "tasks.source: 'fil' is not known: use one of minirepo, file, foreign, babyai, gymnasium, textworld, "
                "harbor, openenv, verifiers; did you mean 'file'?"
            ],
        ),
        (
            "method: sft\ntasks: own.jsonl",
            [
                "tasks: 'own.jsonl': must have keys of its own: source minirepo, or source file with path",
            ],
        ),
        (
            "method: sft\nteacher: oracle",
            ["teacher: 'oracle': must have keys of its own; did you mean {kind: oracle}?"],
        ),
        ("method: sft\nteacher: 'http://me:hush@x'", ["teacher: '***@x': must have keys of its own: kind "]),
        ("method: sft\ntasks:", ["tasks: null: must have keys of its own: "]),
        (
            "method: sft\ntasks: {path: own.jsonl, holdout: 0}",
            ["tasks.holdout: 0: must be greater than or equal to 1, or must be 'all'"],
        ),
        (
            "method: sft\nlearner: {lora: {target_modules: [3]}}",
            ["learner.lora.target_modules.0: 3: must be a valid string"],
        ),
        (
            "method: sft\nlearner: {lora: {target_modules: 3}}",
            ["learner.lora.target_modules: 3: must be 'all-linear', or must be a valid list"],
        ),
        (
            "method: sft\nstudent: {server: {engine: vlm, port: 0}}",
            [
                "student.server.engine: 'vlm': must be 'vllm' or 'transformers'",
                "student.server.port: 0: must be greater than or equal to 1",
            ],
        ),
        (
            "method: sft\nstudent: {server: {environment: hush}}",
            ["student.server.environment: must be a valid dictionary"],
        ),
        (
            "method: sft\nstudent: {server: {environment: {KEY: [hush]}}}",
            ["student.server.environment.KEY: must be a valid string"],
        ),
        ("method: sft\nmixture: {decay: 1}", ["mixture.decay = 1: the teacher mixture has no decay"]),
        (
            "method: sft\nmixture: {kind: dagger}",
            [
                "mixture.kind: 'dagger': sft learns from rollouts of the mixture 'teacher': leave mixture out, or set "
                "method to dagger"
            ],
        ),
        (
            "method: dagger\nmixture: {kind: teacher}",
            [
                "mixture.kind: 'teacher': dagger learns from rollouts of the mixture 'dagger' or 'student': leave "
                "mixture out, or for the teacher on every turn set mixture.decay to 0, or set method to sft"
            ],
        ),
        (
            "method: grpo\nmixture: {kind: aggrevate}",
            ["mixture.kind: 'aggrevate': grpo learns from rollouts of the mixture 'student'"],
        ),
        (
            "method: oec\nmixture: {kind: teacher}",
            ["mixture.kind: 'teacher': oec learns from rollouts of the mixture 'aggrevate'"],
        ),
        (
            "method: grpo\nrollouts: {samples_per_task: 1}",
            [
                "rollouts.samples_per_task: 1: grpo compares the rollouts of a task with each other: set it to 2"
            ],
        ),
        (
            "method: grpo\ndata: {filter: resolved}",
            ["data.filter: 'resolved': grpo compares rollouts that ended well with others"],
        ),
        (
            "method: sft\nstudent: nano",
            ["student: 'nano': must have keys of its own; did you mean {model: nano}?"],
        ),
        ("[1, 2]", ["a recipe is a mapping of keys to values, not a list"]),
        (
            "method: sft\nseed: 1\nseed: 2",
            ["not valid YAML at line 3: the key 'seed' is given twice: keep one"],
        ),
        ("method: [", ["not valid YAML at line 1"]),
        (
            "method: sft\n[a, b]: 1",
            ["not valid YAML at line 2: a key is a plain word, not a list or a mapping"],
        ),
        ("method: sft\n3: 4", ["3: unknown key; known keys: method, "]),
        ("method: {name: sft}", ["method: {'name': 'sft'} is not known: use one of sft, "]),
        (
            "base_model: m\nnum_epochs: 1",
            [f"method: not given: use one of {', '.join(METHODS)}; no recipe has 'base_model', "],
        ),
        ("method: sft\niterations: yes", ["iterations: 'true': must be a valid integer"]),
        (
            "method: sft\nlearner: {learning_rate: on}",
            ["learner.learning_rate: 'true': must be a valid number"],
        ),
        (
            "method: sft\nlearner: {learning_rate: .inf}",
            ["learner.learning_rate: inf: must be a finite number"],
        ),
        ("method: sft\niterations: 2026-01-01", ["iterations: 2026-01-01: must be a valid integer"]),
        ("method = sft\niterations = 2", ["a recipe is YAML: write 'method: sft', not with ="]),
        (
            "method: sft\nteacher: {endpoint: 'http://me:hush@h:99999/v1?k=hush', model: m}",
            [
                "teacher.endpoint: '***@h:99999/v1': not an http:// or https:// URL with a host and, if any, a port"
            ],
        ),
    ],
)
def test_each_mistake_is_one_line_with_field_fix_and_at_its_end_the_file(write, text, lines):
    path = write(text)
    reported = complaint(path).split("\n")
    assert len(reported) == len(lines)
    for got, expected in zip(reported, lines, strict=True):
        assert got.startswith(expected)
        assert got.endswith(f" (in {path})")
        assert "hush" not in got


def test_a_mistake_of_an_override_is_not_said_to_be_in_the_file(write):
    path = write("method: sft\nsed: 1")
    assert complaint(path, "learner.epochs=x").split("\n") == [
        "learner.epochs: 'x': must be a valid integer",
        f"sed: unknown key; did you mean 'seed'? (in {path})",
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("notes.md", "# Title\n- a: b\n", "a recipe is a YAML file, not a Markdown file such as "),
        ("tasks.jsonl", "{}\n", "a recipe is a YAML file, not a file of JSON lines such as "),
        ("words.yaml", "only words", "a recipe is a mapping of keys to values, not a text: name a YAML file"),
    ],
)
def test_what_is_no_recipe_is_told_from_one(write, name, text, expected):
    assert complaint(write(text, name)).startswith(expected)


def test_another_kind_of_a_section_leaves_out_what_the_file_said_for_its_own_and_says_so(write):
    path = write("method: dagger\nteacher: {kind: local, model: m}")
    oracle, lines = told(path, "teacher.kind=oracle")
    assert oracle.teacher.kind == "oracle"
    assert lines == ["teacher.kind=oracle: teacher.model of the recipe left out, with teacher.kind local"]
    assert complaint(path, "teacher.kind=oracle", "method=opd").startswith(
        "teacher.kind: 'oracle': opd needs the teacher's log-probabilities"
    )


@pytest.mark.parametrize("setting", SYNONYMS)
def test_what_other_trainers_call_a_setting_leads_to_one_that_exists(setting):
    assert setting in setting_names(Recipe)
    assert all(setting in meant(name, Recipe) for name in SYNONYMS[setting])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner", "override 'learner': write it as key=value"),
        ("seed.x=1", "override 'seed.x=1': seed is 3, which has no keys below it"),
        ("learner.epoch=1", "learner.epoch: unknown key; did you mean 'epochs'?"),
        ("seed.endpoint.x=1", "override 'seed.endpoint.x=1': seed is 3"),
        ("method.name=sft", "override 'method.name=sft': method is 'sft', which has no keys below it"),
        ("method=[sft]", "method: ['sft'] is not known: use one of sft"),
        ("learner.epochs=[", "override 'learner.epochs=[': not valid YAML"),
    ],
)
def test_a_wrong_override_is_reported_as_a_wrong_recipe_is(write, override, expected):
    assert expected in complaint(write("method: sft\nseed: 3"), override)


def test_a_shipped_recipe_is_found_by_its_name_from_anywhere_and_a_users_own_comes_first(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("minirepo_dagger").method == "dagger"
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "minirepo_dagger.yaml").write_text("method: sft")
    assert load_recipe("minirepo_dagger").method == "sft"


def test_a_run_of_before_settings_had_a_class_each_reads_as_it_was(write):
    """Then a section held null for each parameter of another kind."""
    mixture = "{kind: dagger, decay: 0.5, floor: 0.5, support: null, shift: null}"
    objective = (
        "{kind: cross_entropy, clip_low: null, clip_high: null, dual_clip: null, divide_by_std: null, estimate: null,"
        " ratio: null, top_k: null, average: token, kl_weight: 0.1}"
    )
    old = write(f"method: dagger\nmixture: {mixture}\nobjective: {objective}", "old.yaml")
    new = write("method: dagger\nmixture: {decay: 0.5, floor: 0.5}\nobjective: {kl_weight: 0.1}", "new.yaml")
    assert load_recipe(old) == load_recipe(new)


def test_every_shipped_recipe_loads(request):
    recipes = sorted((request.config.rootpath / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        load_recipe(str(path), [] if "method:" in path.read_text() else ["method=sft"])


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].objective.kind != "reverse_kl"])
def test_methods_are_compared_on_the_embedded_tasks_by_one_word(method):
    recipe, shipped = load_recipe("minirepo", [f"method={method}"]), load_recipe(f"minirepo_{method}")
    assert recipe.data.filter == METHODS[method].filter
    for section in ("scaffold", "tasks", "evaluation"):
        assert getattr(recipe, section) == getattr(shipped, section)


def test_reading_a_recipe_imports_no_tensor_code():
    code = (
        "import sys, turnmix.recipe.recipe, turnmix.assembly.student\n"
        "assert not {'torch', 'transformers', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
