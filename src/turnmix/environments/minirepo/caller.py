"""The program that calls an agent's code in a fresh sandbox. Runs there, as `python3 -I -S -B -c`.

In, by standard input: a directory, the files to lay into it, calls. Out: a line for each call, once all are
done. It imports nothing that is slow to import, and ends without tidying up.
"""

import marshal
import os
import sys


def answer_line(module: str, function: str, arguments: list[object]) -> str:
    try:
        __import__(module)
        return f"[{json_of(getattr(sys.modules[module], function)(*arguments))}]"
    except BaseException:
        return "null"


def json_of(value: object) -> str:
    """What can be equal to a value that a call should return; raises for all else.

    >>> json_of([None, True, -1, 0.5, "a", 'say "ä"', ("b",)])
    '[null, true, -1, 0.5, "a", "\\\\u0073\\\\u0061\\\\u0079\\\\u0020\\\\u0022\\\\u00e4\\\\u0022", ["b"]]'
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and value - value == 0:  # it is neither infinite nor no number
        return float.__repr__(value)
    if isinstance(value, str):
        if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
            return f'"{value}"'
        units = value.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4)) + '"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(json_of, value))}]"
    raise TypeError


def main() -> None:
    directory, files, calls = marshal.loads(sys.stdin.buffer.read())
    answers = open(os.dup(1), "w")  # noqa: SIM115 (what the agent's code does to standard output is its own)
    for path, content in files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    sys.path.insert(0, directory)
    lines = [f"\n@answer {answer_line(*call)}\n" for call in calls]
    answers.write("".join(lines))
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
