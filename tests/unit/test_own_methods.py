"""Methods of a user's own, from a module outside the tree: one object each, treated as those of the package."""

import sys
from pathlib import Path

import pytest
from test_loop import MemorisingStudent, loop

from own_methods import NAME, laid_into
from turnmix.core.errors import PluginError, UserError
from turnmix.methods.registry import find_method, methods_table
from turnmix.policies.scripted import call_action
from turnmix.recipe.recipe import load_recipe, recipe_yaml, stored_recipe


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    yield from laid_into(tmp_path, monkeypatch)


def written(own, text, name="own.yaml"):
    path = own / name
    path.write_text(text)
    return str(path)


def refused(own, text, *overrides):
    with pytest.raises(UserError) as error:
        load_recipe(written(own, text), list(overrides))
    (line,) = error.value.lines
    return line


def test_a_method_of_ones_own_brings_what_its_row_says_and_a_recipe_says_the_rest(own):
    recipe = load_recipe(written(own, f"method: {NAME}:SOPD"))
    assert (recipe.mixture.kind, recipe.data.filter, recipe.objective.kind) == (
        "student",
        "finished",
        "cross_entropy",
    )
    assert recipe.asks_teacher
    guided = load_recipe(
        written(own, f"method: {NAME}:GUIDED_OPD\nteacher: {{model: m}}\nmixture: {{decay: 0.5}}")
    )
    assert (guided.mixture.start, guided.mixture.decay, guided.mixture.floor) == (0.5, 0.5, 0)
    assert (guided.objective.estimate, guided.student.top_p, guided.student.temperature) == (
        "sampled",
        1.0,
        1.0,
    )


def test_a_mixture_and_a_loss_of_ones_own_come_with_their_method_or_to_one_of_the_package(own):
    gated = load_recipe(written(own, f"method: {NAME}:GATED\nobjective: {{kl_weight: 0.1}}"))
    assert (gated.mixture.kind, gated.mixture.longest) == (f"{NAME}:Rescued", 4)
    assert (gated.objective.kind, gated.objective.gamma, gated.objective.kl_weight) == (
        f"{NAME}:Focal",
        1.0,
        0.1,
    )
    dagger = load_recipe(
        written(
            own, f"method: dagger\nmixture: {{kind: '{NAME}:Rescued'}}\nobjective: {{kind: '{NAME}:Focal'}}"
        )
    )
    assert (dagger.mixture.longest, dagger.objective.gamma) == (6, 2.0)


@pytest.mark.parametrize("method", ["SOPD", "GUIDED_OPD", "GATED"])
def test_a_recipe_of_ones_own_method_is_read_back_equal_and_left_by_one_word(own, method):
    recipe = load_recipe(written(own, f"method: {NAME}:{method}\nteacher: {{model: m}}"))
    resolved = written(own, recipe_yaml(recipe), "resolved.yaml")
    assert load_recipe(resolved) == recipe
    plain = load_recipe(written(own, "method: dagger\nteacher: {model: m}"))
    told = []
    left = load_recipe(resolved, ["method=dagger"], say=told.append)
    # A temperature that the file says serves every method.
    assert left == plain.model_copy(update={"student": left.student})
    (line,) = told
    assert line.startswith("method=dagger: mixture, data.filter, rollouts.samples_per_task")
    assert line.endswith(f"are left out, since they belong to {NAME}:{method}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            f"method: {NAME}:SOPDD",
            f"method: '{NAME}:SOPDD': there is no SOPDD in {NAME}.py; did you mean 'SOPD'?",
        ),
        (
            f"method: {NAME}:is_short",
            f"method: '{NAME}:is_short': is function, not a method: name an object made by ",
        ),
        (
            f"method: sft\ndata: {{filter: '{NAME}:SOPD'}}",
            f"data.filter: '{NAME}:SOPD': is no function: name one ",
        ),
        (
            f"method: sft\ndata: {{filter: '{NAME}:is_shor'}}",
            f"data.filter: '{NAME}:is_shor': there is no is_shor in ",
        ),
        (
            "method: sft\ndata: {filter: done}",
            "data.filter: 'done': must be submitted, resolved, finished, all, or ",
        ),
        (
            f"method: {NAME}:SOPD\nmixture: {{kind: teacher}}",
            "mixture.kind: 'teacher': sopd learns from rollouts of the mixture 'student': leave mixture out, or set ",
        ),
        (
            f"method: {NAME}:SOPD\nobjective: {{kind: reverse_kl}}",
            "objective.kind: 'reverse_kl': sopd is taught with cross_entropy; leave it out",
        ),
        (f"method: {NAME}:GUIDED_OPD", "teacher.kind: 'oracle': "),
    ],
)
def test_a_mistake_in_a_recipe_of_ones_own_is_one_line(own, text, line):
    assert refused(own, text).startswith(line)


def test_a_stored_recipe_is_read_without_importing_its_method(own):
    text = recipe_yaml(load_recipe(written(own, f"method: {NAME}:GATED")))
    sys.modules.pop(NAME)
    stored = stored_recipe(Path(written(own, text, "stored.yaml")))
    assert (recipe_yaml(stored), stored.doubts, stored.asks_teacher) == (text, [], True)
    assert stored_recipe(Path(written(own, f"method: {NAME}:GATED"))).method == f"{NAME}:GATED"
    assert NAME not in sys.modules


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("mixture=StudentMixture()", "mixture is StudentMixture(): it must be settings, such as Stu"),
        ("objective='cross_entropy'", "objective is 'cross_entropy': it must be settings, such as Cross"),
        ("filter=len", "filter is <built-in function len>: it must be a name: 'resolved', or 'my_methods"),
        ("label=None", "label is None: it must be True, False, or a function from a state to either"),
        ("transitions=[]", "transitions is []: it must be a function from trajectories and"),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(own, field, told):
    (own / "rows.py").write_text(
        "from dataclasses import replace\nfrom turnmix.rollout.mixture import StudentMixture\n"
        f"from {NAME} import SOPD\nROW = replace(SOPD, {field})\n"
    )
    said = refused(own, "method: rows:ROW")
    assert said.startswith("method: rows.py:4 (rows:ROW): TypeError: Method 'sopd': ")
    assert told in said
    sys.modules.pop("rows", None)


def test_the_table_shows_ones_own_too(own):
    table = methods_table([find_method("sft"), find_method(f"{NAME}:GUIDED_OPD")]).splitlines()
    assert table[-1] == (
        "| Guided-OPD (`guided_opd`) | each turn: the teacher with probability β_i → 0 | the student's executed turns "
        "| log π_teacher − log π_student |"
    )


def asked(run):
    return [
        (len(each.state(turn).messages), step.label is not None)
        for each in run.trajectories.read(run.trajectories.ids)
        for turn, step in enumerate(each.turns)
        if step.actor == "student"
    ]


def test_a_gate_says_which_labels_are_bought(tmp_path):
    adding = dict.fromkeys((1, 3), call_action("add", amount=1))
    training, run = loop(
        tmp_path / "run", method=f"{NAME}:GATED", iterations=1, student=MemorisingStudent(memory=adding)
    )
    training.run()
    bought = asked(run)
    assert {is_asked for _, is_asked in bought} == {True, False}
    assert all(is_asked == (length % 4 > 1) for length, is_asked in bought)


FAULTY = """\
from dataclasses import replace

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_labels
from turnmix.rollout.mixture import MixtureSettings, StudentMixture
from word_methods import SOPD


def lost(trajectory):
    return trajectory.reward


def undecided(trajectory):
    return None


def transitions(trajectories, objective):
    return [each.turns[0].labels for each in trajectories]


def heavy(trajectories, objective):
    taught = teach_labels(trajectories, objective)
    return replace(taught, transitions=[replace(each, weight=float("nan")) for each in taught.transitions])


def nothing(trajectories, objective):
    return []


def gate(state):
    return state.messages[99]


class Third(MixtureSettings):
    def make(self):
        return ThirdMixture()


class ThirdMixture(StudentMixture):
    def actors(self, iteration, generator):
        return lambda turn, state: "critic"


BROKEN = replace(SOPD, transitions=transitions)
HEAVY = replace(SOPD, transitions=heavy)
EMPTY = replace(SOPD, transitions=nothing)
GATE = replace(SOPD, label=gate)
"""


def line_of(text):
    return FAULTY.splitlines().index(text) + 1


@pytest.mark.parametrize(
    ("changes", "line", "told"),
    [
        (
            {"data": {"filter": "faulty:lost"}},
            "    return trajectory.reward",
            "(faulty:lost): AttributeError: ",
        ),
        (
            {"data": {"filter": "faulty:undecided"}},
            None,
            "(faulty:undecided): ValueError: the filter's answer: None: give True or False",
        ),
        (
            {"method": "faulty:BROKEN"},
            "    return [each.turns[0].labels for each in trajectories]",
            "(faulty:BROKEN): AttributeError: 'Turn' object has no attribute 'labels'",
        ),
        (
            {"method": "faulty:HEAVY"},
            None,
            "(faulty:HEAVY): ValueError: i001-00000: weight nan: give one finite",
        ),
        (
            {"method": "faulty:EMPTY"},
            None,
            "(faulty:EMPTY): TypeError: transitions(...) returned list: it must",
        ),
        ({"method": "faulty:GATE"}, "    return state.messages[99]", "(faulty:GATE): IndexError: "),
        (
            {"mixture": {"kind": "faulty:Third"}},
            None,
            "(faulty:Third): ValueError: turn 0: 'critic' acts: return 'student' or 'teacher'",
        ),
    ],
)
def test_what_fails_inside_is_told_with_its_line_and_the_run_goes_on_from_there_once_it_is_mended(
    own, tmp_path, changes, line, told
):
    (own / "faulty.py").write_text(FAULTY)
    training, run = loop(tmp_path / "run", iterations=1, **changes)
    with pytest.raises(PluginError) as error:
        training.run()
    assert told in str(error.value)
    assert line is None or f"faulty.py:{line_of(line)} " in str(error.value)
    stored = list(run.trajectories.ids)
    run.close()
    # As if the line were mended: what was stored stays, and is not rolled out again.
    mended, run = loop(tmp_path / "run", iterations=1, is_resumed=True)
    assert mended.run()["is_complete"]
    assert list(run.trajectories.ids)[: len(stored)] == stored
    assert bool(stored) == ("GATE" not in str(changes) and "Third" not in str(changes))
    sys.modules.pop("faulty")
