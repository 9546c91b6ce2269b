/**
 * The loop of a generation: prefill, then choose and decode until every sequence has ended.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import type { ModelBatch } from "../model/batch.ts";
import type { PassOptions, VLM } from "../model/vlm.ts";
import { chooseToken } from "./choose_token.ts";
import type { DecodeState } from "./decode_state.ts";
import { DeviceSampler } from "./device_sampler.ts";
import type { GenerateOptions, Generation } from "./generate_options.ts";
import { prefill } from "./prefill.ts";
import type { PromptPlace } from "./prompt_rows.ts";
import { checkSamplingParameters } from "./sampling_filters.ts";
import { tokenUniform } from "./token_uniform.ts";

// P prompts, S sequences still running, V vocabulary, C channels

/** Longest block of tokens chosen on the device between two reads. */
const LONGEST_BLOCK = 16;

/** State of one call of the engine. */
export class GenerationRun {
  readonly #pass: PassOptions;
  readonly #results: Generation[];
  readonly #prompts: number[][];
  readonly #forbidden: readonly number[];
  readonly #copies: number;
  #running: number[];

  constructor(
    readonly model: VLM,
    readonly batch: ModelBatch,
    readonly places: readonly PromptPlace[],
    readonly options: GenerateOptions,
  ) {
    const { numReturnSequences = 1, sequenceIds } = options;
    if (!(Number.isInteger(numReturnSequences) && numReturnSequences >= 1)) {
      throw new RangeError(
        `Cannot generate ${numReturnSequences} completions a prompt: want 1 or more`,
      );
    }
    checkSamplingParameters(options);
    this.#copies = numReturnSequences;
    const count = places.length * numReturnSequences;
    if (sequenceIds !== undefined && sequenceIds.length !== count) {
      throw new RangeError(
        `Cannot generate ${count} completions with ${sequenceIds.length} sequenceIds: want one each`,
      );
    }
    this.#pass = { withoutAdapters: options.withoutAdapters };
    this.#results = Array.from(
      { length: count },
      () => ({ tokens: [], logProbs: [], filteredLogProbs: [], finishReason: "length" }),
    );
    this.#running = this.#results.map((_, s) => s);
    this.#forbidden = (options.forbiddenTokenIds ?? [model.imageTokenId])
      .filter((id) => id >= 0 && id < model.config.lm_vocab_size);
    const { inputIds, tokens } = batch;
    this.#prompts = places.map(({ row, start, prefixEnd, branchStart, branchEnd }) => [
      ...inputIds.subarray(row * tokens + start, row * tokens + prefixEnd),
      ...inputIds.subarray(row * tokens + branchStart, row * tokens + branchEnd),
    ]);
  }

  async generate(encodeImages: () => tf.Tensor2D | null): Promise<Generation[]> {
    const { options } = this;
    if (options.maxNewTokens < 1 || this.places.length === 0) return this.#results;
    const { batch, places } = this;
    const { state, logits } = prefill(this.model, {
      ...{ batch, places, encodeImages },
      copies: this.#copies,
      maxNewTokens: options.maxNewTokens,
    }, this.#pass);
    try {
      const onDevice = tf.getBackend() === "webgpu" && options.onLogits === undefined &&
        options.order !== "nanovlm";
      if (onDevice) await this.#chooseOnDevice(state, logits);
      else await this.#chooseOnHost(state, logits);
    } finally {
      state.dispose();
    }
    return this.#results;
  }

  /** Logits after the tokens with these embeddings, [S, C] → [S, V]. */
  #next(state: DecodeState, embed: () => tf.Tensor2D): tf.Tensor2D {
    const { model } = this;
    return tf.tidy(() => {
      const hidden = state.step({ model, options: this.#pass }, embed()); // [S, C]
      return model.logits(hidden, this.#pass) as tf.Tensor2D; // [S, V]
    });
  }

  #uniform(sequence: number, index: number): number {
    const { seed = 0, sequenceIds, firstPlaces } = this.options;
    const place = (firstPlaces?.[sequence] ?? 0) + index;
    return tokenUniform(seed, sequenceIds?.[sequence] ?? sequence, place);
  }

  /** Adds a token to a sequence; false if that was its last. */
  #add(sequence: number, token: number, logProb: number, filteredLogProb: number): boolean {
    if (!Number.isFinite(logProb)) {
      throw new RangeError(
        "Cannot choose a token: its log-probability is not finite, so the model's output is not",
      );
    }
    const result = this.#results[sequence];
    result.tokens.push(token);
    result.logProbs.push(logProb);
    result.filteredLogProbs.push(filteredLogProb);
    const stopped = this.options.onToken?.(sequence, token) === true;
    if (this.options.stopTokenIds.includes(token)) result.finishReason = "eos";
    else if (stopped) result.finishReason = "stop";
    else return result.tokens.length < this.options.maxNewTokens;
    return false;
  }

  async #chooseOnHost(state: DecodeState, logits: tf.Tensor2D): Promise<void> {
    const { model, options } = this;
    const V = model.config.lm_vocab_size;
    for (;;) {
      const [read] = await readBack([logits]).finally(() => logits.dispose());
      const values = read as Float32Array;
      options.onLogits?.(this.#running, values);
      const next: number[] = [], kept: number[] = [];
      this.#running.forEach((sequence, i) => {
        const { tokens } = this.#results[sequence];
        const { token, logProb, filteredLogProb } = chooseToken(
          values.subarray(i * V, (i + 1) * V),
          options,
          this.#uniform(sequence, tokens.length),
          {
            forbidden: this.#forbidden,
            previousTokens: this.#textSoFar(sequence),
          },
        );
        if (!this.#add(sequence, token, logProb, filteredLogProb)) return;
        next.push(token);
        kept.push(i);
      });
      if (kept.length === 0 || options.signal?.aborted) return;
      this.#keep(state, kept);
      logits = this.#next(state, () => model.embed(Int32Array.from(next), null));
    }
  }

  #textSoFar(sequence: number): number[] {
    if ((this.options.repetitionPenalty ?? 1) === 1) return [];
    const prompt = this.#prompts[Math.floor(sequence / this.#copies)];
    return [...prompt, ...this.#results[sequence].tokens];
  }

  /** Keeps only the running sequences at these indices. */
  #keep(state: DecodeState, kept: readonly number[]): void {
    if (kept.length === this.#running.length) return;
    state.keep(Int32Array.from(kept));
    this.#running = kept.map((i) => this.#running[i]);
  }

  /**
   * Chooses on the device and reads tokens in blocks, since each read costs 11 ms. A sequence that
   * ends within a block runs to the block's end; its extra tokens are dropped.
   */
  async #chooseOnDevice(state: DecodeState, logits: tf.Tensor2D): Promise<void> {
    const { model, options } = this;
    const sampler = new DeviceSampler(model.config.lm_vocab_size, options, this.#forbidden);
    try {
      sampler.start(this.#running.map((sequence) => this.#textSoFar(sequence)));
      for (let block = 2, done = 0;; block = Math.min(2 * block, LONGEST_BLOCK)) {
        const steps = Math.min(block, options.maxNewTokens - done);
        for (let step = 0; step < steps; step++) {
          const uniforms = this.#running.map((sequence) => this.#uniform(sequence, done + step));
          const tokens = sampler.choose(logits, uniforms); // [S]
          logits.dispose();
          if (done + step + 1 === options.maxNewTokens) break;
          logits = this.#next(state, () => model.embedTokens(tokens));
        }
        const chosen = await sampler.read();
        done += steps;
        const kept: number[] = [];
        this.#running.forEach((sequence, i) => {
          const goesOn = chosen.every((row) =>
            this.#add(sequence, row.tokens[i], row.logProbs[i], row.filteredLogProbs[i])
          );
          if (goesOn) kept.push(i);
        });
        if (kept.length === 0 || options.signal?.aborted) break;
        if (kept.length < this.#running.length) {
          const rows = tf.tensor1d(kept, "int32");
          const [before, all] = [logits, logits];
          logits = tf.gather(all, rows);
          before.dispose();
          sampler.keep(rows);
          rows.dispose();
          this.#keep(state, kept);
        }
      }
    } finally {
      logits.dispose();
      sampler.dispose();
    }
  }
}
