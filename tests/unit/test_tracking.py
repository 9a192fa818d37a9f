"""Trackers: tensorboard always, others by name, and a resumed run gives no point another value."""

import sys
import time

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from own_methods import NAME, laid_into
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.loop.trackers import Trackers, check_trackers


class ScriptedTracker(GeneralTracker):
    """Keeps what it gets, until it is told to fail."""

    name = "scripted"
    requires_logging_directory = False
    last = None

    def __init__(self, run_name, **_):
        super().__init__()
        self.points, self.is_failing, self.is_finished = [], False, False
        ScriptedTracker.last = self

    @property
    def tracker(self):
        return self

    def log(self, values, step=None, **_):
        if self.is_failing:
            raise ConnectionError("gone")
        self.points.append((step, values))

    def finish(self):
        self.is_finished = True


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "scripted", ScriptedTracker)


def scalars(run):
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {
        name: [(point.step, round(point.value, 4)) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_numbers_at_any_depth_reach_tensorboard_at_their_step(tmp_path):
    trackers = Trackers((), run=tmp_path)
    trackers.log({"step": {"loss": 0.5, "note": "text"}}, step=3)
    trackers.log({"rollout": {"stop_reasons": {"finish": 7}, "losses": [1.0], "is_done": True}}, step=4)
    trackers.close()
    assert scalars(tmp_path) == {"step/loss": [(3, 0.5)], "rollout/stop_reasons/finish": [(4, 7.0)]}


def test_points_are_on_disk_before_the_run_ends_and_a_resumed_run_goes_on_beside_them(tmp_path):
    Trackers((), run=tmp_path).log({"loss": 0.5}, step=1)  # killed: never closed
    begun = int(time.time())
    while int(time.time()) == begun:  # files are read in the order of the seconds in their names
        time.sleep(0.01)
    resumed = Trackers((), run=tmp_path)
    resumed.log({"loss": 0.25}, step=2)
    resumed.close()
    assert scalars(tmp_path) == {"loss": [(1, 0.5), (2, 0.25)]}


def test_every_named_tracker_gets_the_points_too(tmp_path, scripted):
    trackers = Trackers(("scripted", "tensorboard"), run=tmp_path)
    trackers.log({"loss": 0.5}, step=1)
    trackers.close()
    assert (ScriptedTracker.last.points, ScriptedTracker.last.is_finished) == ([(1, {"loss": 0.5})], True)
    assert scalars(tmp_path) == {"loss": [(1, 0.5)]}


def test_a_tracker_that_fails_does_not_stop_the_run_and_is_given_no_more(tmp_path, scripted):
    trackers = Trackers(("scripted",), run=tmp_path)
    ScriptedTracker.last.is_failing = True
    with pytest.warns(UserWarning, match="scripted failed and gets no more: gone"):
        trackers.log({"loss": 0.5}, step=1)
    trackers.log({"loss": 0.25}, step=2)
    assert scalars(tmp_path) == {"loss": [(1, 0.5), (2, 0.25)]}


def test_an_unknown_tracker_is_refused_with_those_that_are_known():
    with pytest.raises(UserError, match=r"trackers: 'wandbb' is not known: use any of .*tensorboard.*wandb"):
        check_trackers(("wandbb",))


def test_a_tracker_whose_package_is_absent_is_refused_with_the_package():
    absent = sorted(set(LOGGER_TYPE_TO_CLASS) - {str(name) for name in get_available_trackers()})
    if not absent:
        pytest.skip("every tracker is installed")
    with pytest.raises(MissingDependencyError, match=f"pip install {absent[0]}"):
        check_trackers(absent)


@pytest.fixture
def own(tmp_path, monkeypatch):
    yield from laid_into(tmp_path, monkeypatch)


def test_a_tracker_of_ones_own_gets_the_points_until_it_fails_which_is_told_with_its_line(own):
    trackers = Trackers((f"{NAME}:Lines",), run=own)
    trackers.log({"step": {"loss": 0.5}}, step=1)
    (own / "full").touch()
    with pytest.warns(
        UserWarning, match=rf"{NAME}:Lines failed and gets no more: {NAME}.py:\d+ .*no space left"
    ):
        trackers.log({"step": {"loss": 0.25}}, step=2)
    trackers.log({"step": {"loss": 0.125}}, step=3)
    trackers.close()
    assert (own / "lines.txt").read_text() in ("1 step/loss\n", "")
    assert scalars(own) == {"step/loss": [(1, 0.5), (2, 0.25), (3, 0.125)]}


def test_a_tracker_of_ones_own_may_take_nothing(own):
    (own / "plain.py").write_text(
        "class Plain:\n    points = []\n    def log(self, figures, step):\n"
        "        self.points.append((step, figures))\n    def close(self): ...\n"
    )
    trackers = Trackers(("plain:Plain",), run=own)
    trackers.log({"loss": 0.5}, step=1)
    trackers.close()
    assert sys.modules.pop("plain").Plain.points == [(1, {"loss": 0.5})]


def test_a_tracker_of_ones_own_that_is_none_is_refused_before_the_run(own):
    check_trackers((f"{NAME}:Lines",))
    with pytest.raises(UserError, match=f"trackers: '{NAME}:is_odd': is no class: name one that has log"):
        check_trackers((f"{NAME}:is_odd",))
    with pytest.raises(
        UserError, match=f"trackers: '{NAME}:RescuedMixture': has no log and no close: give it"
    ):
        check_trackers((f"{NAME}:RescuedMixture",))
    (own / "lines.txt").mkdir()
    with pytest.raises(
        UserError, match=rf"trackers: {NAME}:Lines does not start \({NAME}.py:\d+ .*IsADirectory"
    ):
        Trackers((f"{NAME}:Lines",), run=own)
