"""What the oracle still has to repair in a file, whatever the student made of it."""

import doctest

from turnmix.environments.oracle import repair
from turnmix.environments.oracle.repair import Hunk, plan_repair

BASE = "one\ntwo\nthree\nfour\n"
GOLD = "one\nTWO\nthree\nFOUR\n"


def test_the_worked_example_holds():
    assert doctest.testmod(repair).failed == 0


def test_an_untouched_file_needs_every_hunk():
    assert plan_repair(BASE, GOLD, BASE) == (
        Hunk(line=2, old=("two",), new=("TWO",)),
        Hunk(line=4, old=("four",), new=("FOUR",)),
    )


def test_a_repaired_file_needs_nothing():
    assert plan_repair(BASE, GOLD, GOLD) == ()


def test_a_repaired_hunk_is_not_repaired_again():
    assert plan_repair(BASE, GOLD, "one\nTWO\nthree\nfour\n") == (Hunk(line=4, old=("four",), new=("FOUR",)),)


def test_a_line_that_is_neither_old_nor_gold_is_damage():
    assert plan_repair(BASE, GOLD, "one\ntwo!\nthree\nfour\n") is None
    assert plan_repair(BASE, GOLD, "one\ntwo\nthree\n") is None
    assert plan_repair(BASE, GOLD, "") is None


def test_lines_are_counted_in_the_current_file_when_hunks_change_their_number():
    base, gold = "a\nb\nc\nd\n", "a\nB1\nB2\nc\nD\n"
    assert plan_repair(base, gold, "a\nB1\nB2\nc\nd\n") == (Hunk(line=5, old=("d",), new=("D",)),)


def test_an_inserted_line_that_is_missing_is_a_hunk():
    assert plan_repair("a\nc\n", "a\nb\nc\n", "a\nc\n") == (Hunk(line=2, old=(), new=("b",)),)


def test_thousands_of_replaced_lines_are_as_many_hunks():
    old, new = ([f"{word} {number}" for number in range(3000)] for word in ("old", "new"))
    current = [*new[:1000], *old[1000:]]
    hunks = plan_repair(*("\n".join(lines) for lines in (old, new, current)))
    assert [hunk.line for hunk in hunks] == list(range(1001, 3001))
