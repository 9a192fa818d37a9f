#!/bin/sh
# Train the demo into $RUN: go on with a run that was cut short, replace one that is complete.
set -eu
is_begun=
if [ -f "$RUN/recipe.yaml" ]; then
    if grep -q '"is_complete": true' "$RUN/summary.json" 2>/dev/null; then
        rm -rf "$RUN"
    else
        echo "going on with $RUN, which was cut short"
        is_begun=yes
    fi
fi
if [ -n "$is_begun" ]; then
    "$BIN/turnmix" train --resume "$RUN"
else
    "$BIN/turnmix" train recipes/minirepo_dagger.yaml --run "$RUN"
fi
# The run is complete, whatever becomes of the page.
"$BIN/turnmix" report "$RUN" -o "$RUN/report.html" || echo "no report could be written: turnmix report $RUN tells why" >&2
