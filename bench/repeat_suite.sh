#!/usr/bin/env bash
# usage: bench/repeat_suite.sh [RUNS [LOG]]
# Runs the whole suite again and again (ten times by default) and writes a line for each run to LOG:
# exit code of each group, its summary, seconds. A process that is ended by a signal is a bad exit.
# What a bad process printed is kept beside LOG.
# The exit code is 0 if no run had a bad exit or a failed test. Wants a machine that is idle.
set -u -o pipefail
cd "$(dirname "$0")/.."
runs="${1:-10}" log="${2:-docs/runs/repeat_suite.log}"
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 DENO_NO_PROMPT=1
if [ ! -d "${XDG_RUNTIME_DIR:-}" ]; then
  XDG_RUNTIME_DIR="$(mktemp -d)"
  export XDG_RUNTIME_DIR
fi
output="$(mktemp)"
trap 'rm -f "$output"' EXIT
bad=0
{
  echo "commit $(git rev-parse --short HEAD), $(deno --version | head -n 1), $(nproc) cores, $(date -u +%F)"
  for ((run = 1; run <= runs; run++)); do
    for group in quick gpu slow; do
      start=$SECONDS code=0
      deno task "test:$group" >"$output" 2>&1 || code=$?
      [ "$code" = 0 ] || bad=$((bad + 1))
      summary="$(grep -E '^(ok|FAILED) \| ' "$output" | tail -n 1)"
      echo "run $run, $group: exit $code, ${summary:-no summary}, $((SECONDS - start)) s"
      if [ "$code" != 0 ]; then
        # What the C library said behind the summary, or the names of failed tests.
        grep -E '^(double free|corrupted|free\(\)|malloc)|\.\.\. FAILED' "$output"
        cp "$output" "${log%.log}_run_${run}_$group.txt"
      fi
    done
  done
  echo "$((3 * runs)) processes, $bad bad"
} | tee "$log"
[ "$(tail -n 1 "$log")" = "$((3 * runs)) processes, 0 bad" ]
