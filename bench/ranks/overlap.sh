#!/usr/bin/env bash
# Full training of a decoder of 25 million parameters on two namespaces at 1 Gbit/s, with and without
# training.gradient_overlap, in turns: seconds of a step, and of the sums behind the backward pass. Needs
# what two_hosts.sh needs, and jq. usage: bench/ranks/overlap.sh [STEPS]
set -euo pipefail
cd "$(dirname "$0")/../.."
steps="${1:-6}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export NANOVLM_THREADS=1
settings=()
for setting in lm_hidden_dim=512 lm_inter_dim=1536 lm_n_heads=8 lm_n_kv_heads=8 lm_n_blocks=8; do
  settings+=(--set "model.vlm_config.$setting")
done
for overlap in false true false true; do
  out="$folder/$overlap"
  rm -rf "$out" "$out.txt"
  bench/ranks/two_hosts.sh 1gbit 0.5ms deno run -A --no-check mod.ts train sft --backend wasm \
    --config configs/shapes_sft.yaml "${settings[@]}" --set training.per_device_train_batch_size=128 \
    --set training.gradient_overlap=$overlap --set training.max_steps="$steps" \
    --set training.logging_steps=1 --set training.save_strategy=no --set training.eval_strategy=no \
    --set save.save_model_path="$out/final" --output-dir "$out" > "$out.txt" 2>&1 ||
    { tail -30 "$out.txt"; exit 1; }
  echo "gradient_overlap: $overlap; a line a step: step, loss, seconds of the step, of the sums, of waiting"
  jq -r 'select(."ranks/step_seconds") | [.step, .loss, ."ranks/step_seconds",
    ."ranks/reduce_seconds", ."ranks/wait_seconds"] | @tsv' "$out/metrics.jsonl"
done
