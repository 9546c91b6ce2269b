/**
 * Completions that are conversations with an environment: the model's turn, a reply, the next turn.
 *
 * @module
 */
import { RowSkipped } from "../../../data/data_error.ts";
import { rewardPrompt } from "../../../data/rows/grpo_format.ts";
import { skippingUnfitGrids } from "../../../data/unfit_grid.ts";
import { ImageDecodeError, readImageHeader } from "../../../image/image_header.ts";
import type { ImageTiles } from "../../../model/batch.ts";
import type { Environment } from "../../../rewards/environment/environment_sandbox.ts";
import type {
  CheckedReply,
  EpisodeStart,
  EpisodeTurn,
  PictureSize,
} from "../../../rewards/environment/types.ts";
import type { ChatMessage } from "../../../rewards/types.ts";
import type { ChatExampleBuilder } from "../../../text/chat_example.ts";
import type { GRPOPrompt } from "../prompts.ts";
import type {
  Completion,
  CompletionSampler,
  SampledCompletions,
  Sampler,
  SamplingRequest,
} from "../sampling.ts";
import type { EpisodePictures } from "./episode_pictures.ts";

// P prompts, G completions of each

/** The role of the environment's messages in the chat template. */
const ROLE = "user";
/** A reply with more characters for each token that it may have is not tokenized. */
const MOST_CHARACTERS_A_TOKEN = 64;

/** What episodes are made with. */
export interface EpisodeParts {
  readonly sampler: Pick<CompletionSampler, "continue" | "settings">;
  readonly environment: Environment;
  readonly builder: ChatExampleBuilder;
  readonly pictures: EpisodePictures;
}

/** An episode that goes on. */
interface Running {
  readonly prompt: GRPOPrompt;
  /** Selects its random numbers, and is its seed. */
  readonly id: number;
  readonly tokens: number[];
  readonly logProbs: number[];
  readonly filteredLogProbs: number[];
  readonly chosen: boolean[];
  readonly messages: ChatMessage[];
  /** Files of the replies' pictures, and their tiles. */
  readonly files: Uint8Array[];
  readonly tiles: ImageTiles[];
  readonly sizes: PictureSize[];
  state: unknown;
  turns: number;
  finishReason: Completion["finishReason"];
  ended: boolean;
  note: string | null;
  failed: boolean;
}

/** Samples episodes with the present model. */
export class EpisodeSampler implements Sampler {
  /** @param maxTurns turns of the model */
  constructor(readonly parts: EpisodeParts, readonly maxTurns: number) {}

  /**
   * @returns P·G completions; cut short if the signal is aborted
   * @throws {RewardFailureError} if the environment failed several times in a row
   */
  async sample(request: SamplingRequest): Promise<SampledCompletions> {
    const { prompts, numGenerations: G, promptsAtOnce, firstId, signal } = request;
    const numbers = request.numbers ?? prompts.map((_, p) => p);
    const completions: Completion[] = [];
    let prefillSeconds = 0, decodeSeconds = 0, environmentSeconds = 0;
    for (let first = 0; first < prompts.length && !signal?.aborted; first += promptsAtOnce) {
      const chunk = prompts.slice(first, first + promptsAtOnce);
      const episodes = chunk.flatMap((prompt, p) =>
        Array.from(
          { length: G },
          (_, g) => newEpisode(prompt, firstId + numbers[first + p] * G + g),
        )
      );
      const timed = async (work: Promise<void>) => {
        const started = performance.now();
        await work;
        environmentSeconds += (performance.now() - started) / 1000;
      };
      const state = request.step === undefined ? {} : { global_step: request.step };
      await timed(this.#reset(episodes, state));
      for (let running = episodes, turn = 1; running.length > 0; turn++) {
        const done = await this.#continue(running, turn === 1 ? chunk : null, request);
        prefillSeconds += done.prefillSeconds;
        decodeSeconds += done.decodeSeconds;
        if (signal?.aborted) break;
        await timed(this.#reply(running.filter(({ ended }) => !ended), state));
        running = running.filter(({ ended }) => !ended);
      }
      completions.push(...episodes.map((episode) => this.#completion(episode)));
    }
    return { completions, prefillSeconds, decodeSeconds, environmentSeconds };
  }

  async #reset(episodes: readonly Running[], state: Record<string, unknown>): Promise<void> {
    const outcomes = await this.parts.environment.reset(episodes.map(startOf), state);
    episodes.forEach((episode, i) => {
      const outcome = outcomes[i];
      if (outcome.error === null) episode.state = outcome.value;
      else fail(episode, `reset failed: ${outcome.error}`);
    });
  }

  /** One turn of the model. */
  async #continue(
    episodes: readonly Running[],
    prompts: readonly GRPOPrompt[] | null,
    { greedy, signal, numGenerations }: SamplingRequest,
  ): Promise<SampledCompletions> {
    const done = await this.parts.sampler.continue({
      // All begin with the prompt, which is read once for all of its completions.
      prompts: prompts ?? episodes.map(({ prompt, tokens, tiles }) => ({
        ids: [...prompt.ids, ...tokens],
        images: [...prompt.images, ...tiles],
      })),
      numReturnSequences: prompts === null ? 1 : numGenerations,
      sequenceIds: episodes.map(({ id }) => id),
      firstPlaces: episodes.map(({ tokens }) => tokens.length),
      greedy,
      signal,
    });
    done.completions.forEach((turn, i) => {
      const episode = episodes[i];
      episode.tokens.push(...turn.tokens);
      episode.logProbs.push(...turn.logProbs);
      episode.filteredLogProbs.push(...turn.filteredLogProbs);
      episode.chosen.push(...turn.tokens.map(() => true));
      episode.messages.push({ role: "assistant", content: turn.text });
      episode.finishReason = turn.finishReason;
      episode.turns++;
      if (turn.finishReason === "length") episode.ended = true;
    });
    return done;
  }

  /** The environment's replies to the latest turns. */
  async #reply(episodes: readonly Running[], state: Record<string, unknown>): Promise<void> {
    for (const episode of episodes) if (episode.failed) episode.ended = true;
    const asked = episodes.filter(({ ended }) => !ended);
    const outcomes = await this.parts.environment.step(
      asked.map((episode) => turnOf(episode, this.maxTurns)),
      state,
    );
    for (const [i, episode] of asked.entries()) {
      const outcome = outcomes[i];
      if (outcome.error !== null) {
        fail(episode, `step failed: ${outcome.error}`);
        episode.ended = true;
        continue;
      }
      const { value } = outcome;
      episode.state = value.state;
      if (value.done || episode.turns >= this.maxTurns) episode.ended = true;
      else await this.#append(episode, value);
    }
  }

  /** Appends a reply's tokens, or ends the episode if that cannot be done. */
  async #append(episode: Running, { text, images }: CheckedReply): Promise<void> {
    const { builder, pictures, sampler } = this.parts;
    const room = sampler.settings.maxCompletionLength - episode.tokens.length - 1;
    const files: Uint8Array[] = [];
    try {
      const shown = () => [
        ...episode.prompt.example.images.map(({ bytes }) => bytes),
        ...episode.files,
        ...files,
      ];
      for (const image of images) files.push(await pictures.encode(image, shown()));
      const processed = await pictures.tilesOf(files);
      const tooLong = text.length > MOST_CHARACTERS_A_TOKEN * Math.max(room, 1);
      const grids = processed.map(({ grid }) => grid);
      const ids = tooLong ? null : skippingUnfitGrids(() => builder.buildReply(ROLE, text, grids));
      if (ids === null || ids.length > room) {
        const length = ids === null ? `${text.length} characters` : `${ids.length} tokens`;
        episode.note = `the environment's reply of ${length} does not fit: max_completion_length ` +
          `leaves ${Math.max(room, 0)} tokens`;
        episode.finishReason = "length";
        episode.ended = true;
        return;
      }
      episode.tokens.push(...ids);
      for (const list of [episode.logProbs, episode.filteredLogProbs]) {
        list.push(...ids.map(() => 0));
      }
      episode.chosen.push(...ids.map(() => false));
      episode.messages.push({ role: ROLE, content: text });
      episode.files.push(...files);
      episode.tiles.push(...processed);
      episode.sizes.push(...files.map(sizeOf));
    } catch (error) {
      const reason = error instanceof RowSkipped
        ? error.reason
        : error instanceof TypeError || error instanceof ImageDecodeError
        ? error.message
        : null;
      if (reason === null) throw error;
      fail(episode, `reply cannot be shown: ${reason}`);
      episode.ended = true;
    }
  }

  #completion(episode: Running): Completion {
    const { tokens, logProbs, filteredLogProbs, finishReason, chosen, messages } = episode;
    const { files, state, turns, note, failed } = episode;
    const last = messages.at(-1);
    return {
      ...{ tokens, logProbs, filteredLogProbs, finishReason },
      text: last?.role === "assistant" ? last.content : "",
      episode: { chosen, messages, pictures: files, state, turns, note, failed },
    };
  }
}

function newEpisode(prompt: GRPOPrompt, id: number): Running {
  return {
    ...{ prompt, id, tokens: [], logProbs: [], filteredLogProbs: [], chosen: [], messages: [] },
    ...{ files: [], tiles: [], state: null, turns: 0, finishReason: "eos", ended: false },
    ...{ note: null, failed: false },
    sizes: prompt.example.images.map(({ bytes }) => sizeOf(bytes)),
  };
}

function fail(episode: Running, reason: string): void {
  episode.failed = true;
  episode.note = `the environment's ${reason}`;
}

function sizeOf(bytes: Uint8Array): PictureSize {
  const { width, height } = readImageHeader(bytes);
  return { width, height };
}

function startOf({ prompt: { example }, sizes, id }: Running): EpisodeStart {
  return { prompt: rewardPrompt(example), images: sizes, seed: id, columns: example.columns };
}

function turnOf(episode: Running, maxTurns: number): EpisodeTurn {
  const { state, messages, turns } = episode;
  return {
    ...startOf(episode),
    state,
    answer: messages.at(-1)!.content,
    conversation: messages,
    turn: turns,
    turnsLeft: maxTurns - turns,
  };
}
