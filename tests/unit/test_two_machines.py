"""What docs/train-larger-students.md says of two machines of eight GPUs is what the benchmark computes."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_table_that_is_computed():
    page = (ROOT / "docs" / "train-larger-students.md").read_text().splitlines()
    computed = runpy.run_path(str(ROOT / "benchmarks" / "two_machines.py"))["table"]()
    assert [line for line in computed if line not in page] == []
    assert len(computed) == 9


def test_every_part_fits_its_card():
    found = runpy.run_path(str(ROOT / "benchmarks" / "two_machines.py"))
    for name in found["STUDENTS"]:
        each = found["estimate"](name)
        assert each.learner < 0.97 * found["CARD"]
        assert min(each.cache_of_student, each.cache_of_teacher) > 1
