/**
 * Where defaults come from, as the tables cite them.
 *
 * @module
 */

/** NanoVLM-Lab's `rlvlm/main.py`, which reads its YAML. */
export const LAB_MAIN = "NanoVLM-Lab `rlvlm/main.py`";
/** NanoVLM-Lab's `NanoVLMGRPOConfig`. */
export const LAB_GRPO = "NanoVLM-Lab `NanoVLMGRPOConfig`";
/** Transformers' `TrainingArguments`. */
export const HF_ARGUMENTS = "Transformers `TrainingArguments`";
/** TRL's `SFTConfig`. */
export const TRL_SFT = "TRL `SFTConfig`";
/** TRL's `DPOConfig`. */
export const TRL_DPO = "TRL `DPOConfig`";
/** TRL's `CPOConfig`, in `trl.experimental.cpo`. */
export const TRL_CPO = "TRL `CPOConfig`";
/** TRL's `KTOConfig`. */
export const TRL_KTO = "TRL `KTOConfig`";
/** TRL's `GKDConfig`, in `trl.experimental.gkd`. */
export const TRL_GKD = "TRL `GKDConfig`";
/** TRL's `GRPOConfig`. */
export const TRL_GRPO = "TRL `GRPOConfig`";
/** TRL's `RLOOConfig`. */
export const TRL_RLOO = "TRL `RLOOConfig`";
/** PEFT's `LoraConfig`. */
export const PEFT_LORA = "PEFT `LoraConfig`";
/** nanoVLM's `VLMConfig`. */
export const NANOVLM = "nanoVLM `VLMConfig`";
/** A key that only this project has. */
export const OURS = "ours";
