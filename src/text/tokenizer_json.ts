/**
 * What the JSON files of a Hugging Face tokenizer hold.
 *
 * @module
 */
import type { AddedToken } from "./pipeline/added_tokens.ts";

/** tokenizer.json, as far as this library looks into it. */
export interface TokenizerJson {
  added_tokens: AddedToken[];
  model: { vocab: Record<string, number> | [string, number][]; [key: string]: unknown };
  [key: string]: unknown;
}

/** tokenizer_config.json or special_tokens_map.json: free-form, keys as transformers writes them. */
export type TokenizerConfigJson = Record<string, unknown>;

/** The files of one tokenizer, parsed. */
export interface TokenizerFiles {
  tokenizer: TokenizerJson;
  config: TokenizerConfigJson;
  /** `eos_token_id` of a generation_config.json beside them, as a list; read, never written. */
  generationEnds?: readonly number[];
}
