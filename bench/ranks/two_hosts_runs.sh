#!/usr/bin/env bash
# A LoRA SFT and a GRPO run on two namespaces at 1 Gbit/s, and what share of a step the sums of gradients
# take. Needs what two_hosts.sh needs. usage: bench/ranks/two_hosts_runs.sh [STEPS]
set -euo pipefail
cd "$(dirname "$0")/../.."
steps="${1:-6}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export NANOVLM_THREADS=1
cat > "$folder/reward.ts" <<'REWARD'
export function spread({ completion_ids }: { completion_ids: number[][] }): number[] {
  return completion_ids.map((ids) => ids.reduce((sum, id) => (sum * 31 + id) % 101, 7) / 101);
}
REWARD
# The embedded tiny model without a starter, for both.
sed -e "s|^training_type: .*|training_type: grpo|; s|dataset_format: vqa|dataset_format: grpo\n  reward_functions_fn: [$folder/reward.ts]|; /split_turns/d" \
  configs/shapes_sft.yaml > "$folder/grpo.yaml"
train() {
  local name=$1
  shift
  bench/ranks/two_hosts.sh 1gbit 0.5ms deno run -A --no-check mod.ts train "$@" --backend wasm \
    --set training.max_steps="$steps" --set training.logging_steps=1 --set training.save_strategy=no \
    --set training.eval_strategy=no --set save.save_model_path="$folder/$name/final" \
    --output-dir "$folder/$name" > "$folder/$name.txt" 2>&1 || { tail -30 "$folder/$name.txt"; return 1; }
  grep -m1 "ranks on" "$folder/$name.txt" || true
  echo "$name: a line a step: step, loss, seconds of the step, of the sums, of waiting, share of the sums"
  jq -r 'select(."ranks/step_seconds") | [.step, .loss, ."ranks/step_seconds", ."ranks/reduce_seconds",
    ."ranks/wait_seconds", ."ranks/reduce_seconds" / ."ranks/step_seconds"] | @tsv' \
    "$folder/$name/metrics.jsonl"
}
train lora_sft sft --set model.use_lora=true --set training.per_device_train_batch_size=48
train grpo grpo --config "$folder/grpo.yaml" --set training.per_device_train_batch_size=4 \
  --set grpo.num_generations=8 --set grpo.max_prompt_length=64 --set grpo.max_completion_length=24
