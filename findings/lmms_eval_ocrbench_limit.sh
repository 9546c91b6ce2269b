#!/usr/bin/env bash
# lmms-eval (PyPI) 0.7.3 divides OCRBench's count of right answers by 1000 whatever the number of
# questions: with --limit 10 and ten right answers, ocrbench_accuracy is 0.01. The counts stand in a
# dictionary of the module, so that aggregating the same ten answers again gives 0.02. Exits 1 if the
# accuracy is 1.0 both times.
# Needs python3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --no-deps lmms-eval==0.7.3 loguru==0.7.3

cat > aggregate.py << 'PY'
import importlib.util, pathlib, sys, types
# The package without its __init__, which imports every model.
root = next(pathlib.Path(path) / "lmms_eval" for path in sys.path
            if (pathlib.Path(path) / "lmms_eval" / "tasks").is_dir())
package = types.ModuleType("lmms_eval")
package.__path__ = [str(root)]
sys.modules["lmms_eval"] = package
tasks = types.ModuleType("lmms_eval.tasks")
tasks.__path__ = [str(root / "tasks")]
sys.modules["lmms_eval.tasks"] = tasks
from lmms_eval.tasks.ocrbench import utils
doc = {"answer": ["STOP"], "dataset": "IIIT5K", "question_type": "Regular Text Recognition"}
results = [utils.ocrbench_process_results(doc, ["stop"])["ocrbench_accuracy"] for _ in range(10)]
assert all(result["score"] == 1 for result in results)
args = types.SimpleNamespace(output_path=".")
print(utils.ocrbench_aggregate_accuracy(results, args), utils.ocrbench_aggregate_accuracy(results, args))
PY
found=$(venv/bin/python aggregate.py 2> /dev/null | tail -n 1)
echo "ten right answers of ten, aggregated twice: $found"
[ "$found" = "0.01 0.02" ]
