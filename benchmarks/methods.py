"""In: finished runs. Out: a picture of what their students resolve: one dot and interval a run, as an SVG that
is dark where the reader's page is.

    for method in sft dagger aggrevate oec opd; do turnmix train minirepo_$method --run runs/$method; done
    python benchmarks/methods.py runs/sft runs/dagger runs/aggrevate runs/oec runs/opd --output docs/methods.svg
"""

import argparse
import json
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT, ROW, TOP = 680, 130, 70, 34, 46
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .faint { fill: #59636e } .grid { stroke: #d1d9e0 } .range { stroke: #0969da; stroke-width: 3 }
  .dot { fill: #0969da } .base { stroke: #bc4c00; stroke-dasharray: 4 4 } .basetext { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .faint { fill: #9198a1 } .grid { stroke: #3d444d } .range { stroke: #4493f8 }
    .dot { fill: #4493f8 } .base { stroke: #f0883e } .basetext { fill: #f0883e }
  }
"""
TITLES = {
    "sft": "SFT",
    "dagger": "DAgger-style",
    "aggrevate": "AggreVaTe-style",
    "oec": "OEC",
    "opd": "OPD",
    "grpo": "GRPO",
}


def at(share):
    """Where a share of resolved tasks lies, in pixels."""
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def drawn(runs, base):
    """The SVG; `runs`: (title, evaluation), `base`: the evaluation of the student that all began with."""
    height = TOP + ROW * len(runs) + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">']
    parts += [f"<title>Holdout tasks resolved, by method</title><style>{STYLE}</style>"]
    bottom = height - 26
    for percent in range(0, 101, 20):
        x = at(percent / 100)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 12}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{x}" y="{bottom + 18}" text-anchor="middle">{percent} %</text>')
    x = at(base["resolved"] / base["n"])
    parts.append(f'<line class="base" x1="{x}" x2="{x}" y1="{TOP - 12}" y2="{bottom}"/>')
    parts.append(f'<text class="basetext" x="{x}" y="{TOP - 20}" text-anchor="middle">base student</text>')
    for place, (title, found) in enumerate(runs):
        y = TOP + ROW * place + 8
        share = found["resolved"] / found["n"]
        parts.append(f'<text x="{LEFT - 14}" y="{y + 4}" text-anchor="end">{escape(title)}</text>')
        parts.append(
            f'<line class="range" x1="{at(found["low"])}" x2="{at(found["high"])}" y1="{y}" y2="{y}"/>'
        )
        parts.append(f'<circle class="dot" cx="{at(share)}" cy="{y}" r="5.5"/>')
        parts.append(f'<text x="{WIDTH - 6}" y="{y + 4}" text-anchor="end">{100 * share:.0f} %</text>')
    return "\n".join([*parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    summaries = [json.loads((run / "summary.json").read_text()) for run in options.runs]
    base = next(summary["base"] for summary in summaries if summary["base"])
    ends = [(TITLES[each["method"]], each["iterations"][-1]["eval"]) for each in summaries]
    options.output.write_text(drawn(sorted(ends, key=lambda end: -end[1]["resolved"]), base))
    for title, found in ends:
        print(f"{title:16} {found['resolved']}/{found['n']}  [{found['low']:.0%}, {found['high']:.0%}]")


if __name__ == "__main__":
    main()
