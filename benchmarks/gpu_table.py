"""In: lines of the record. Out: a page in Markdown: what was measured, on what, and what falls short."""

WORDS = {
    "rows": "rows",
    "labels": "labels",
    "pairs": None,
    "passed": None,
    "decides": None,
    "error": None,
    "part": None,
    "step": None,
    "kernels": None,
}
HEADS = ("card", "driver", "cuda", "torch", "triton", "transformers", "peft", "python")


def table(lines, steps):
    """`steps`: what each measures, what decides, and what to change."""
    about = next((line for line in lines if line.get("part") == "versions"), {})
    versions = ", ".join(f"{name} {about[name]}" for name in HEADS if about.get(name))
    parts = [f"Measured {about.get('date', 'at an unknown date')} on {versions or 'an unknown machine'}.", ""]
    parts += ["| step | what | figures | decides | as it must be |", "|---|---|---|---|---|"]
    for line in lines:
        if line.get("part") in ("versions", "end", "kernel"):
            continue
        parts.append(
            f"| {line['step']} | {line.get('part', '')} | {_figures(line)} | {line.get('decides', '')} "
            f"| {_verdict(line)} |"
        )
    short = [name for name in steps if any(_is_short(line) for line in lines if line["step"] == name)]
    if short:
        parts += ["", "What falls short, and what to change:", ""]
        parts += [f"- {name}: {steps[name].decides}. Else: {steps[name].remedy}." for name in short]
    return "\n".join(parts) + "\n"


def _is_short(line):
    return line.get("passed") is False


def _verdict(line):
    if "passed" not in line:
        return ""
    return {True: "yes", False: "**no**", None: "not measured"}[line["passed"]]


def _figures(line):
    if "error" in line:
        return line["error"].splitlines()[-1].replace("|", "\\|")[:300]
    shown = [
        f"{name.replace('_', ' ')} {_number(value)}"
        for name, value in line.items()
        if WORDS.get(name, name) is not None
    ]
    return ", ".join(shown)


def _number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or value >= 1000 else f"{value:g}"
