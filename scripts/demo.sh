#!/bin/sh
# Train the demo into $RUN: go on with a run that was cut short, replace one that is complete.
set -eu
if [ -f "$RUN/recipe.yaml" ]; then
    if grep -q '"is_complete": true' "$RUN/summary.json" 2>/dev/null; then
        rm -rf "$RUN"
    else
        echo "going on with $RUN, which was cut short"
        exec "$BIN/turnmix" train --resume "$RUN"
    fi
fi
exec "$BIN/turnmix" train recipes/minirepo_dagger.yaml --run "$RUN"
