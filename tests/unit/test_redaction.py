"""Secrets are cut out of all that is written, in whatever form; innocent text stays as it is."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnmix.core.atomic_file import write_atomically
from turnmix.core.child_environment import child_environment
from turnmix.core.credentials import keep_secrets_of
from turnmix.core.redaction import keep_secret, own_secrets, redacted, redacted_bytes
from turnmix.store.append_log import AppendLog

KEY = "sk-test/é+0123456789"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=40)


@pytest.fixture(autouse=True)
def known():
    with own_secrets():
        keep_secret(KEY)
        yield


@given(before=st.binary(max_size=40), behind=st.binary(max_size=40))
def test_a_key_is_found_wherever_it_stands_in_what_base64_encodes(before, behind):
    encoded = base64.b64encode(before + KEY.encode() + behind).decode()
    for text in (encoded, encoded.rstrip("="), encoded.translate(str.maketrans("+/", "-_"))):
        shown = redacted(text)
        assert "***" in shown
        # What is left of it are the characters at its edges, which it shares with what stands around it.
        assert len(text) - len(shown.replace("***", "")) >= len(KEY.encode()) * 8 // 6 - 2


@given(before=TEXTS, behind=TEXTS)
def test_a_key_is_found_however_it_is_escaped(before, behind):
    with own_secrets():
        keep_secret("sk-0123456789/x")
        forms = (
            "sk-0123456789/x",
            "sk-0123456789\\/x",
            quote("sk-0123456789/x", safe=""),
            quote(quote("sk-0123456789/x", safe="")),
            "".join(f"\\u{ord(c):04x}" for c in "sk-0123456789/x"),
            "".join(f"&#x{ord(c):x};" for c in "sk-0123456789/x"),
            "s\\u006b-012345678&#57;%2Fx",
            b"sk-0123456789/x".hex().upper(),
        )
        for form in forms:
            text = f"{before} {form} {behind}"
            assert form not in redacted(text)
            assert redacted(redacted(text)) == redacted(text)


@given(TEXTS)
def test_innocent_text_is_the_very_same(text):
    assert redacted(text) is text
    content = text.encode()
    assert redacted_bytes(content) is content


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_keep_all_but_the_key(content):
    shown = redacted_bytes(content + KEY.encode() + content)
    assert shown == content + b"***" + content or KEY.encode() in content


@pytest.mark.parametrize(
    "value", ["", "EMPTY", "1234567", "12345678901", "-1.5e-10", "not-needed", "Password"]
)
def test_what_is_no_secret_is_cut_out_of_nothing(value):
    keep_secret(value)
    assert redacted(f"x {value} y") == f"x {value} y"


def test_records_on_the_disk_hold_no_key_and_are_read_back(tmp_path):
    log = AppendLog(tmp_path / "log.jsonl")
    record = {
        "id": "a",
        KEY: [KEY, {"x": f"é{KEY}é"}],
        "logprobs": [-0.123456789, None],
        "text": json.dumps(KEY),
    }
    log.append_record(record)
    log.append_record({"id": "b", "n": 1})
    assert list(log.records(["a", "b"])) == [
        {"id": "a", "***": ["***", {"x": "é***é"}], "logprobs": [-0.123456789, None], "text": '"***"'},
        {"id": "b", "n": 1},
    ]
    log.close()
    assert AppendLog(tmp_path / "log.jsonl").ids == ("a", "b")


def test_a_file_that_is_replaced_holds_no_key(tmp_path):
    for content in (f"a {KEY} b", f"a {KEY} b".encode()):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_text() == "a *** b"


def test_secrets_of_an_environment_are_told_by_their_names_and_their_looks():
    keep_secrets_of(
        {
            "ANY_API_KEY": "0123456789abcdef-key",
            "SOME_TOKEN": "token-of-mine-1234",
            "DB_PASSWORD": "postgres",
            "KEY_FILE": "/home/me/key-0123456789",
            "PIP_INDEX_URL": "https://me:hush-0123@host/simple",
            "DOCKER_HOST": "ssh://somebody@host",
            "HOME_PAGE": "https://host/0123456789abcdef",
        }
    )
    shown = redacted(
        "0123456789abcdef-key token-of-mine-1234 postgres /home/me/key-0123456789 hush-0123 somebody 0123456789abcdef"
    )
    assert shown == "*** *** postgres /home/me/key-0123456789 *** somebody 0123456789abcdef"


def test_a_program_gets_what_is_listed_and_no_key_among_it():
    mine = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "1",
        "VLLM_USE_V1": "1",
        "VLLM_API_KEY": "x",
        "HF_HUB_TOKEN": "x",
        "HF_ENDPOINT": "https://mirror/?token=x",
        "HTTPS_PROXY": "http://me:hush@proxy",
        "HTTP_PROXY": "http://proxy:3128",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_HOME": f"/{KEY}",
        "AWS_REGION": "eu",
        "SSH_AUTH_SOCK": "/tmp/x",
        "GIT_DIR": "/tmp/y",
        "LD_PRELOAD": "/tmp/z",
    }
    kept = {"PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "VLLM_USE_V1", "HTTP_PROXY", "TOKENIZERS_PARALLELISM"}
    assert child_environment(environment=mine).keys() == kept
    assert child_environment(["AWS_REGION", "ABSENT"], environment=mine).keys() == kept | {"AWS_REGION"}
