"""The trajectories in a log, as two runs must have them alike."""

import json


def trajectories(path):
    """What happened, by id; wall-clock seconds aside."""
    found = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        for turn in record["turns"]:
            del turn["seconds"]
        assert record["id"] not in found, f"{record['id']} is there twice"
        found[record["id"]] = record
    return found
