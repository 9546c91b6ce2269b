/**
 * `builtin:reward_functions`: what NanoVLM-Lab's `rlvlm/reward_functions.py` exports, under its
 * names, so that its configurations run with `reward_functions_fn=builtin:reward_functions`.
 *
 * @module
 */
export { format as format_reward } from "./format.ts";
export { accuracy as accuracy_reward } from "./accuracy.ts";
