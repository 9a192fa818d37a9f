"""Arms compared: values over seeds, differences, and the decision by the rule that was fixed."""

import copy
import json

import pytest
from stored_runs import COMPARISON, analysed, evaluated_run, sweep_directory

import turnmix
from turnmix.core.errors import UserError

NLL = {("sft", 0): 0.6, ("sft", 1): 0.5, ("dagger", 0): 0.4, ("dagger", 1): 0.3}
RECOVERED = {"sft": (False, False, False, None), "dagger": (True, False, True, False)}


def begun(folder, data=COMPARISON, *, without=()):
    sweep = sweep_directory(folder, data)
    for arm, seed in ((arm, seed) for arm in data["arms"] for seed in data["seeds"]):
        if (arm, seed) in without:
            continue
        nll = NLL.get((arm, seed), 0.5)
        overrides = [*data["overrides"], *data["arms"][arm], f"seed={seed}"]
        run = evaluated_run(sweep / f"{arm}-seed-{seed}", overrides, resolved=())
        analysed(
            run,
            nll=[nll - 0.1, nll, nll, nll + 0.1] if arm == "sft" else [nll + 0.1, nll, nll - 0.1, nll],
            greedy=[True, True, True, arm == "dagger"],
            resolved=[True, True, arm == "dagger", False],
            recovered=RECOVERED.get(arm, RECOVERED["sft"]),
        )
    return sweep


def outcome(compared, name):
    return next(each for each in compared.to_json()["outcomes"] if each["outcome"] == name)


def test_a_sweeps_outcomes_are_sums_over_tasks_and_seeds_with_the_difference_to_the_reference_arm(tmp_path):
    compared = turnmix.compare(begun(tmp_path / "sweep"))
    nll = outcome(compared, "own_state_label_nll")
    # Four labels of two tokens in each of two seeds: (8 · .6 + 8 · .5)/16, and (8 · .4 + 8 · .3)/16.
    assert nll["arms"]["sft"]["value"] == pytest.approx(0.55)
    assert nll["arms"]["dagger"]["by_seed"] == {"0": pytest.approx(0.4), "1": pytest.approx(0.3)}
    assert nll["differences"]["dagger"]["difference"] == pytest.approx(-0.2)
    assert list(nll["differences"]) == ["dagger"]
    agreement = outcome(compared, "agreement_on_teacher_states")["arms"]
    assert (agreement["sft"]["numerator"], agreement["sft"]["denominator"]) == (6, 8)
    assert outcome(compared, "resolved")["arms"]["dagger"]["numerator"] == 6


def test_a_task_that_ended_before_its_accident_has_no_part_in_recovery(tmp_path):
    arms = outcome(turnmix.compare(begun(tmp_path / "sweep")), "resolved_after_breaking")["arms"]
    assert (arms["sft"]["numerator"], arms["sft"]["denominator"]) == (0, 6)
    assert (arms["dagger"]["numerator"], arms["dagger"]["denominator"]) == (4, 8)


def test_comparing_again_gives_the_same_digits(tmp_path):
    sweep = begun(tmp_path / "sweep")
    assert turnmix.compare(sweep).to_json() == turnmix.compare(sweep).to_json()


def test_the_decision_is_what_the_rules_numbers_say(tmp_path):
    assert turnmix.compare(begun(tmp_path / "holds")).decision.holds is True
    data = copy.deepcopy(COMPARISON)
    data["decision"]["criteria"] = [
        {"outcome": "own_state_label_nll", "direction": "lower"},
        {"outcome": "resolved", "difference": [-0.05, 0.05]},
        {"outcome": "resolved_after_breaking", "values": {"sft": [0, 0.03], "dagger": [0.2, 0.5]}},
        {"outcome": "own_state_label_nll", "p_value_at_most": 0.001},
    ]
    decision = turnmix.compare(begun(tmp_path / "fails", data)).decision
    assert [(each.found, each.holds) for each in decision.checks[:4]] == [
        ("0.350 against 0.550", True),
        ("+25.0 points", False),
        ("0.0 %", True),
        ("50.0 %", True),
    ]
    assert decision.holds is False


def test_a_condition_may_be_against_another_arm_whose_runs_are_waited_for_too(tmp_path):
    data = copy.deepcopy(COMPARISON)
    data["arms"]["oec"] = ["method=oec"]
    data["decision"]["criteria"] = [
        {"outcome": "resolved", "direction": "higher"},
        {"outcome": "resolved", "against": "oec", "direction": "lower"},
        {"outcome": "resolved", "against": "oec", "p_value_at_most": 0.05},
    ]
    without = [("oec", 0)]
    waiting = turnmix.compare(begun(tmp_path / "waiting", data, without=without)).decision
    assert waiting.line == "Not decided: 1 run of sft and dagger and oec is missing."
    checks = turnmix.compare(begun(tmp_path / "sweep", data)).decision.checks
    assert [(each.condition, each.holds) for each in checks] == [
        ("resolved: higher for dagger than for sft", True),
        ("resolved: lower for dagger than for oec", False),
        ("resolved: p at most .050 against oec", False),
    ]


def test_nothing_is_decided_while_a_run_of_the_two_arms_is_missing(tmp_path):
    compared = turnmix.compare(begun(tmp_path / "sweep", without=[("dagger", 1)]))
    assert compared.decision.holds is None
    assert compared.decision.checks == []
    assert compared.decision.line == "Not decided: 1 run of sft and dagger is missing."
    assert any("1 of 4 runs" in line for line in compared.heading)


def test_an_arm_of_which_no_run_is_complete_has_no_value_and_hides_no_other(tmp_path):
    compared = turnmix.compare(begun(tmp_path / "sweep", without=[("dagger", 0), ("dagger", 1)]))
    nll = outcome(compared, "own_state_label_nll")
    assert (nll["arms"]["dagger"]["value"], nll["differences"]["dagger"]) == (None, None)
    assert nll["arms"]["sft"]["value"] == pytest.approx(0.55)


def test_a_comparison_file_that_was_changed_afterwards_is_told(tmp_path):
    sweep = begun(tmp_path / "sweep")
    file = sweep / "comparison.yaml"
    file.write_text(file.read_text().replace("in_seeds: 2", "in_seeds: 1"))
    with pytest.raises(
        UserError, match=r"is not the file that the sweep was begun with: sha256 [0-9a-f]{64} there"
    ):
        turnmix.compare(sweep)


def test_two_runs_are_paired_by_task_with_mcnemars_test(tmp_path):
    one = evaluated_run(tmp_path / "one", ["method=sft"], [True] * 8 + [False] * 2)
    other = evaluated_run(tmp_path / "other", ["method=dagger"], [False] * 6 + [True] * 4)
    (resolved,) = turnmix.compare(one, other).outcomes
    comparison = resolved.differences[0].comparison
    # Six tasks that the first alone resolved, two that the other did: 2 · (1 + 8 + 28/2)/2⁸.
    assert comparison.p_value == pytest.approx(2 * (1 + 8 + 14) / 256)
    assert comparison.difference == pytest.approx(-0.4)


def test_runs_that_differ_in_the_seed_alone_are_one_arm(tmp_path):
    runs = [
        evaluated_run(tmp_path / f"{method}-seed-{seed}", [f"method={method}", f"seed={seed}"])
        for method in ("sft", "dagger")
        for seed in (0, 1)
    ]
    (resolved,) = turnmix.compare(*runs).outcomes
    assert [(each.arm, len(each.by_seed)) for each in resolved.values] == [("sft", 2), ("dagger", 2)]
    with pytest.raises(UserError, match="differ in their seeds alone"):
        turnmix.compare(*runs[:2])


@pytest.mark.parametrize(
    ("number", "outcomes", "told"),
    [
        (1, [], "compare: give a sweep, or two runs or more"),
        (2, ["resolve"], "outcomes: 'resolve' is none: use some of .*; did you mean 'resolved'?"),
        (2, ["own_state_label_nll"], "was not measured: `turnmix analyse .* --instruments divergence`"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(tmp_path, number, outcomes, told):
    runs = [evaluated_run(tmp_path / name, [f"method={name}"]) for name in ("sft", "dagger")][:number]
    with pytest.raises(UserError, match=told) as error:
        turnmix.compare(*runs, outcomes=outcomes)
    assert len(error.value.lines) == 1


def test_each_outcome_is_one_block_of_80_columns_and_what_so_many_could_show_a_sentence(tmp_path, capsys):
    from turnmix.cli import main

    assert main(["compare", str(begun(tmp_path / "sweep"))]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    place = printed.index("Label NLL on own states, nats per token: lower is better")
    assert printed[place + 1].split() == ["arm", "value", "over", "seeds", "less", "sft", "p", "Holm"]
    assert [line.split()[:3] for line in printed[place + 2 : place + 5]] == [
        ["sft", "0.550", "0.500–0.600"],
        ["dagger", "0.350", "0.300–0.400"],
        [],
    ]
    assert sum(line.startswith("arm ") for line in printed) == len(COMPARISON["outcomes"])
    assert "4 tasks, 2 seeds: a difference of 0.055 nats is found with a chance of" in " ".join(printed)
    assert sum(line.startswith("Intervals are of 95 %") for line in printed) == 1


def test_what_is_not_there_is_told_by_its_name(tmp_path):
    with pytest.raises(
        UserError, match=r"away: there is nothing: give a sweep, its file, or two runs or more"
    ):
        turnmix.compare(tmp_path / "away")


def test_the_command_prints_tables_of_80_columns_or_all_figures_as_json(tmp_path, capsys):
    from turnmix.cli import main

    sweep = begun(tmp_path / "sweep")
    assert main(["compare", str(sweep)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("The rule holds.") for line in printed)
    assert max(map(len, printed)) <= 80
    assert main(["compare", str(sweep), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["holds"] is True
