#!/usr/bin/env bash
# All-reduce rates of our ranks beside a C program of the same calls, one after the other, three times.
# Needs mpicc (on Debian: libopenmpi-dev). usage: bench/ranks/all_reduce.sh [RANKS]
set -euo pipefail
cd "$(dirname "$0")/../.."
ranks="${1:-2}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mpicc -O2 -o "$folder/all_reduce" bench/ranks/all_reduce.c
start=(mpirun -n "$ranks" --oversubscribe --bind-to none)
for round in 1 2 3; do
  echo "round $round"
  "${start[@]}" "$folder/all_reduce"
  "${start[@]}" deno run -A --no-check bench/ranks/all_reduce.ts
done
