"""Checkpoints: whole or not at all, and a resumed run is the uninterrupted one."""

import itertools
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from tiny_student import CharacterRenderer, batch, digest, fitted, settings, tiny_model
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from limited_files import no_file_larger_than
from turnmix.core.errors import CheckpointError, UserError
from turnmix.policies.local.loading import load_model
from turnmix.training import checkpoint
from turnmix.training.checkpoint import restore_learner, save_checkpoint
from turnmix.training.checkpoint_files import checkpoint_name, prune, whole_checkpoints
from turnmix.training.learner import Learner


@pytest.fixture
def tokenizer():
    vocabulary = {"<end>": 0, "a": 1}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<end>")), eos_token="<end>"
    )


def learner_of(model):
    return Learner(model, CharacterRenderer(), settings())


def saved(directory, tokenizer):
    learner = learner_of(tiny_model())
    learner.fit(batch(seed=1), generator=random.Random(1))
    save_checkpoint(directory, model=learner.model, tokenizer=tokenizer, learner=learner)
    return learner


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tmp_path, tokenizer):
    learner = saved(tmp_path / "one", tokenizer)
    model, _ = load_model(tmp_path / "one")
    assert digest(model) == digest(learner.model)
    resumed = learner_of(model)
    restore_learner(tmp_path / "one", resumed)

    learner.fit(batch(seed=2), generator=random.Random(2))
    resumed.fit(batch(seed=2), generator=random.Random(2))
    assert digest(resumed.model) == digest(learner.model)
    assert resumed.steps == learner.steps


def test_killed_at_any_moment_of_saving_and_pruning_a_run_goes_on_from_a_whole_checkpoint(
    tmp_path, tokenizer
):
    learner = saved(tmp_path / "whole" / "iteration-001", tokenizer)
    learner.fit(batch(seed=2), generator=random.Random(2))
    save_checkpoint(
        tmp_path / "whole" / "iteration-002", model=learner.model, tokenizer=tokenizer, learner=learner
    )
    reached = []
    for moment in itertools.count():
        folder, keep = tmp_path / f"killed-{moment}", (None, 1)[moment % 2]
        shutil.copytree(tmp_path / "whole" / "iteration-001", folder / "iteration-001")
        was_killed = killed_at(moment, folder, learner, tokenizer, keep=keep)
        last = checkpoint_name(whole_checkpoints(folder)[-1])
        assert contents(folder / last) == contents(tmp_path / "whole" / last)
        reached.append(last)
        prune(folder, keep=keep, named=())
        assert [path.parent.name for path in folder.glob("*/learner.pt") if path.parent.name[0] != "."] == [
            last
        ]
        if not was_killed:
            break
    assert reached == sorted(reached)
    assert reached.count("iteration-001") > 10
    assert reached.count("iteration-002") > 2


def contents(checkpoint):
    return {path.name: path.read_bytes() for path in checkpoint.iterdir()}


def killed_at(moment, folder, learner, tokenizer, *, keep):
    """Save the second checkpoint and prune in a process that kills itself before its `moment`-th change of the disk;
    False: there are not so many."""
    if (child := os.fork()) == 0:
        left = moment

        def kill(event, arguments):
            nonlocal left
            changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod") or (
                event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY)
            )
            left -= bool(changes)
            if changes and left == -1:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        save_checkpoint(folder / "iteration-002", model=learner.model, tokenizer=tokenizer, learner=learner)
        prune(folder, keep=keep, named=())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def test_the_optimiser_state_matters_to_a_resumed_run(tmp_path, tokenizer):
    learner = saved(tmp_path / "one", tokenizer)
    forgetful = learner_of(load_model(tmp_path / "one")[0])
    learner.fit(batch(seed=2), generator=random.Random(2))
    forgetful.fit(batch(seed=2), generator=random.Random(2))
    assert digest(forgetful.model) != digest(learner.model)


@pytest.mark.parametrize("cut", ["save_model", "force_to_disk"])
def test_a_save_that_fails_half_way_leaves_no_checkpoint_and_does_not_hinder_the_next(
    tmp_path, tokenizer, monkeypatch, cut
):
    class FullDiskError(Exception):
        pass

    def fail(*_, **__):
        raise FullDiskError

    model = tiny_model()
    with monkeypatch.context() as patch:
        if cut == "save_model":
            patch.setattr(type(tokenizer), "save_pretrained", fail)
        else:
            patch.setattr(checkpoint, "force_to_disk", fail)
        with pytest.raises(FullDiskError):
            save_checkpoint(tmp_path / "one", model=model, tokenizer=tokenizer)
    assert not (tmp_path / "one").exists()

    save_checkpoint(tmp_path / "one", model=model, tokenizer=tokenizer)
    assert digest(load_model(tmp_path / "one")[0]) == digest(model)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("size", [50_000, 120_000])
def test_a_full_disk_is_told_by_the_checkpoints_name_and_leaves_nothing(tmp_path, tokenizer, size):
    """The weights have 85 kB, the optimiser's state 186."""
    learner = saved(tmp_path / "one", tokenizer)
    with (
        no_file_larger_than(size),
        pytest.raises(
            CheckpointError, match=r"two cannot be written \([\d,]+ MB are free there\): .*File too"
        ),
    ):
        save_checkpoint(tmp_path / "two", model=learner.model, tokenizer=tokenizer, learner=learner)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_checkpoint_files_have_the_mode_of_every_other_new_file(tmp_path, tokenizer, mask, mode):
    before = os.umask(mask)
    try:
        saved(tmp_path / "one", tokenizer)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == dict.fromkeys(
        (path.name for path in files), oct(mode)
    )
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o777 & ~mask


def test_saving_again_replaces_the_checkpoint(tmp_path, tokenizer):
    save_checkpoint(tmp_path / "one", model=tiny_model(), tokenizer=tokenizer)
    other = fitted(batch())[0]
    save_checkpoint(tmp_path / "one", model=other, tokenizer=tokenizer)
    assert digest(load_model(tmp_path / "one")[0]) == digest(other)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_missing_checkpoint_is_refused_with_its_path_and_a_remedy(tmp_path):
    with pytest.raises(UserError, match=r"student.model: .*nowhere cannot be loaded .*: give the directory"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_checkpoint_is_refused_with_its_path(tmp_path, tokenizer, name):
    saved(tmp_path / "one", tokenizer)
    damaged = tmp_path / "one" / name
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(UserError, match=r"one (cannot be loaded|is no model that can be loaded)"):
        load_model(tmp_path / "one")


def test_weights_that_lack_a_tensor_are_refused_by_its_name(tmp_path, tokenizer):
    model = tiny_model()
    kept = {name: tensor for name, tensor in model.state_dict().items() if "layers.1.mlp.up" not in name}
    save_checkpoint(tmp_path / "one", model=model, tokenizer=tokenizer)
    model.save_pretrained(tmp_path / "one", state_dict=kept)
    with pytest.raises(UserError, match=r"lacks 1 weights, such as .*layers\.1\.mlp\.up"):
        load_model(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_missing_learner_file_is_refused_with_its_path(tmp_path, tokenizer, content):
    saved(tmp_path / "one", tokenizer)
    path = tmp_path / "one" / "learner.pt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=r"learner\.pt cannot be loaded") as told:
        restore_learner(tmp_path / "one", learner_of(tiny_model()))
    # No checkpoint before it has an optimiser's state: to delete this one alone leads nowhere.
    assert f"delete {tmp_path} to have each iteration trained again" in str(told.value)


def test_a_learner_file_cut_short_is_refused(tmp_path, tokenizer):
    saved(tmp_path / "one", tokenizer)
    path = tmp_path / "one" / "learner.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"learner\.pt cannot be loaded"):
        restore_learner(tmp_path / "one", learner_of(tiny_model()))


def test_the_learner_file_is_read_without_running_code(tmp_path, tokenizer):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    saved(tmp_path / "one", tokenizer)
    torch.save({"optimizer": Attack(), "steps": 0}, tmp_path / "one" / "learner.pt")
    with pytest.raises(UserError):
        restore_learner(tmp_path / "one", learner_of(tiny_model()))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has mapped is read from /proc")
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_each_of_several_ranks_reads_what_it_needs_of_the_optimisers_state_and_not_the_whole(
    tmp_path, tokenizer, num_ranks
):
    class Rank:
        model = tiny_model()

        def load_state_dict(self, state, *, adapter):
            self.state = state

    saved(tmp_path / "one", tokenizer)
    rank = Rank()
    rank.num_ranks = num_ranks
    restore_learner(tmp_path / "one", rank)
    moments = [each["exp_avg"] for each in rank.state["optimizer"]["state"].values()]
    lines = [
        line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "learner.pt" in line
    ]
    mapped = [[int(end, 16) for end in line[0].split("-")] for line in lines]
    is_mapped = [any(start <= each.data_ptr() < end for start, end in mapped) for each in moments]
    assert moments
    assert set(is_mapped) == {num_ranks > 1}
