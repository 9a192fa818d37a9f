"""The section of a recipe that says on which machines it runs."""

import socket
import subprocess
import sys

import pytest

from turnmix.cluster.connection import connected
from turnmix.core.errors import RecipeError, UserError
from turnmix.recipe.recipe import load_recipe


def cluster(*overrides):
    return load_recipe("minirepo_dagger", overrides).cluster


def test_left_out_it_is_one_process():
    assert cluster() is None


def test_any_of_its_settings_brings_the_others():
    assert cluster("cluster={}").address == "auto"
    assert cluster("cluster.rollout_workers=4", "cluster.address=local").rollout_workers == 4
    assert cluster("cluster.address=10.0.0.1:6379").address == "10.0.0.1:6379"


def test_what_is_no_address_is_refused_with_the_three_that_are():
    with pytest.raises(
        RecipeError, match=r"cluster.address: 'head': is neither auto, local nor the host:port"
    ):
        cluster("cluster.address=head")
    with pytest.raises(RecipeError, match=r"cluster.address: '10.0.0.1:70000': is neither"):
        cluster("cluster.address=10.0.0.1:70000")


def test_a_head_that_takes_no_connection_is_told_at_once():
    pytest.importorskip("ray", reason="needs the package ray: pip install 'turnmix[ray]'")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        told = rf"cluster.address: '{address}': no Ray cluster can be joined there \(.*[Rr]efused"
        with (
            pytest.raises(UserError, match=told),
            connected(cluster(f"cluster.address={address}"), run="run"),
        ):
            pass


def test_without_ray_a_recipe_with_a_cluster_is_refused_in_one_line_and_any_other_never_loads_it():
    code = """
import sys
sys.modules["ray"] = None
from turnmix.assembly.machine import check_machine
from turnmix.core.errors import MissingDependencyError
from turnmix.recipe.recipe import load_recipe
check_machine(load_recipe("minirepo_dagger"))
try:
    check_machine(load_recipe("minirepo_dagger", ["cluster={}"]))
except MissingDependencyError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "cluster: needs the package ray: pip install 'turnmix[ray]'\n"
