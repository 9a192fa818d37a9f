"""What an agent is shown of bytes."""

import pytest

from turnmix.scaffold.observation import clean_terminal_output, decode, encode, truncate
from turnmix.scaffold.shell import BoundedOutput, Outcome
from turnmix.scaffold.shell_line import MARKER, possible_report


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"\x1b[1;32mok\x1b[0m\n", "ok\n"),
        (b"\x1b]0;title\x07text", "text"),
        (b"a\r\nb\r\r\n", "a\nb\n"),
        (b"10%\r50%\r100%\ndone\r", "100%\ndone"),
        (b"bell\x07 nul\x00 tab\t", "bell nul tab\t"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"\x1b[", ""),
    ],
)
def test_terminal_output_is_shown_as_a_person_would_read_it(output, shown):
    assert clean_terminal_output(output) == shown


def test_a_long_line_without_an_end_is_cleaned_in_linear_time():
    assert len(clean_terminal_output(b"x" * 1_000_000 + b"\ry" * 100_000)) == 1


def test_truncation_keeps_both_ends_and_counts_what_is_missing():
    text = "a" * 20_000 + "b" * 20_000
    shown = truncate(text, limit=30_000)
    assert shown == "a" * 15_000 + "\n[... 10000 characters left out ...]\n" + "b" * 15_000
    assert truncate(text, limit=40_000) == text


def test_truncation_counts_what_was_left_out_before_it():
    # 3 of 5 characters of the head and 2 of 4 of the tail are shown: 100 + 2 + 2 are missing.
    assert truncate("abcde", tail="wxyz", left_out=100, limit=5) == (
        "ab\n[... 104 characters left out ...]\nxyz"
    )


def test_a_flood_is_kept_in_bounded_memory_with_its_beginning_and_its_end():
    output = BoundedOutput(10)
    for number in range(1000):
        output.append(b"%04d" % number)
    report = output.take(Outcome.quiet, exit_code=None)
    assert report.head == b"0000000100"
    assert report.tail.endswith(b"09980999")
    assert len(report.tail) <= 20
    assert len(report.head) + report.left_out + len(report.tail) == 4000
    assert output.take(Outcome.quiet, exit_code=None).head == b""


def test_only_what_may_become_a_prompt_is_held_back():
    marker = MARKER.encode()
    assert possible_report(b"Password: ") == 0
    assert possible_report(b"x" + marker + b"1:0:/work") == len(marker) + 9
    assert possible_report(b"x" + marker[:9]) == 9
    assert possible_report(marker + b"1:0::c#turn") == len(marker) + 11
    assert possible_report(marker + b"1:$?:$PWD") == 0


@pytest.mark.parametrize("content", [b"\xff\x80text", b"\xed\xb2\x80", "é\n".encode()])
def test_bytes_survive_decoding_and_encoding(content):
    assert encode(decode(content)) == content


def test_a_surrogate_that_stands_for_no_byte_is_encoded_all_the_same():
    assert encode("a\ud800b") == b"a?b"
