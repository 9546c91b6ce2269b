#!/usr/bin/env bash
# datasets 5.2.0: interleave_datasets without probabilities and with the default stopping_strategy
# "first_exhausted" gives other rows for IterableDatasets than for Datasets of the same rows. Of sets of
# 3, 7 and 20 rows the map-style result ends with the round in which the shortest set gives its last row
# (9 rows); the streamed one ends right after that row (7 rows), so that the later sets lose a row. With
# probabilities both give the same rows. Exits 1 if the two agree, or the numbers change.
# Needs Python 3.10 or later with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0
"$work/venv/bin/python" - <<'PY'
import sys
import datasets
from datasets import Dataset, interleave_datasets

print("datasets", datasets.__version__)
sets = [Dataset.from_dict({"row": [f"{name}{i}" for i in range(count)]})
        for name, count in (("a", 3), ("b", 7), ("c", 20))]
streams = [one.to_iterable_dataset() for one in sets]
rows = lambda mixed: [example["row"] for example in mixed]
plain = rows(interleave_datasets(sets)), rows(interleave_datasets(streams))
drawn = {"probabilities": [0.5, 0.3, 0.2], "seed": 42}
weighed = rows(interleave_datasets(sets, **drawn)), rows(interleave_datasets(streams, **drawn))
print("in turn, map-style:", *plain[0])
print("in turn, streamed: ", *plain[1])
print("with probabilities:", "the same" if weighed[0] == weighed[1] else "not the same")
seen = len(plain[0]) == 9 and len(plain[1]) == 7 and weighed[0] == weighed[1]
sys.exit(0 if seen else 1)
PY
