"""A log cut at any byte opens, keeps every whole line, and goes on."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from turnmix.store.append_log import AppendLog

values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
records = st.lists(st.tuples(st.text(max_size=8), values), max_size=6, unique_by=lambda item: item[0])


@settings(deadline=None)  # each line waits for the disk
@given(records=records, data=st.data())
def test_a_log_cut_at_any_byte_keeps_every_whole_line_and_goes_on(records, data):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        log = AppendLog(path)
        ends = []
        for name, value in records:
            log.append_record({"id": name, "value": value})
            ends.append(path.stat().st_size)
        log.close()
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])

        log = AppendLog(path)
        whole = [
            {"id": name, "value": value}
            for (name, value), end in zip(records, ends, strict=True)
            if end <= cut
        ]
        assert list(log.records(log.ids)) == whole

        for name, value in records:
            log.append_record({"id": name, "value": value})
        log.close()
        assert [json.loads(line) for line in path.read_bytes().splitlines()] == [
            {"id": name, "value": value} for name, value in records
        ]
