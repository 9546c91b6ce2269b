/**
 * GRPO's replay buffer: groups whose rewards differed, to be trained on again in place of groups
 * whose rewards are all equal, which teach nothing. The rules are those of
 * `trl.experimental.grpo_with_replay_buffer`:
 *
 * - the score of a group is Σ_g |A_g| · σ, with A its advantages and σ the standard deviation of its
 *   rewards; the groups with the highest scores are kept;
 * - a round first adds its groups with σ > 0, then replaces the others by kept groups, drawn with
 *   probabilities in proportion to their scores, without repetition if there are enough.
 *
 * A replayed group keeps the log-probabilities of the policy that sampled it, so that the importance
 * ratio of the loss is that of an older policy. (TRL leaves the ratio at 1 if each round feeds one
 * optimizer step.) If nothing is kept yet, groups without spread stay. (TRL fails then.)
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import type { DataCursor } from "../batches/example_stream.ts";
import type { GRPOPrompt } from "./prompts.ts";
import {
  type PicturesOf,
  restoreGroup,
  type Rollout,
  type RolloutGroup,
  type StoredGroup,
  storeGroup,
} from "./rollout.ts";

/** A kept group. */
interface Entry {
  readonly score: number;
  /** With the step that it was sampled at. */
  readonly group: RolloutGroup;
  /** For checkpoints; made once. */
  readonly stored: StoredGroup;
}

/** The buffer as JSON, the lowest score first. */
export type StoredReplay = readonly { readonly score: number; readonly group: StoredGroup }[];

/** A round with replayed groups. */
export interface ReplayedRound {
  readonly rollout: Rollout;
  /** Groups without spread that others stand in for. */
  readonly replaced: number;
}

/**
 * The score of a group.
 *
 * @param advantages of its completions
 * @param deviation standard deviation of their rewards
 */
export function replayScore(advantages: readonly number[], deviation: number): number {
  return advantages.reduce((sum, advantage) => sum + Math.abs(advantage), 0) * deviation;
}

/** Groups by score. */
export class ReplayBuffer {
  /** The lowest score first; of equal ones the older first. */
  #entries: Entry[] = [];
  /** Of a checkpoint, until a round needs them. */
  #unread: StoredReplay | null = null;

  /**
   * @param size groups that are kept at most
   * @param seed of the draws
   */
  constructor(readonly size: number, readonly seed: number) {}

  /** Scores of what is kept, the lowest first. */
  get scores(): number[] {
    return (this.#unread ?? this.#entries).map(({ score }) => score);
  }

  /** Keeps a group, if there is room or its score is above the lowest. */
  add(score: number, group: RolloutGroup): void {
    if (this.#entries.length >= this.size) {
      if (!(score > this.#entries[0].score)) return;
      this.#entries.shift();
    }
    const after = this.#entries.findIndex((entry) => entry.score > score);
    const entry = { score, group, stored: storeGroup(group) };
    this.#entries.splice(after < 0 ? this.#entries.length : after, 0, entry);
  }

  /**
   * Draws groups.
   *
   * @param round a number of its own for each round, which chooses the random numbers
   * @returns `count` groups; none if nothing is kept
   */
  draw(count: number, round: number): RolloutGroup[] {
    if (this.#entries.length === 0) return [];
    const random = new RandomStream(this.seed, `replay buffer ${round}`);
    const weights = this.scores;
    const repeats = count > weights.length;
    return Array.from({ length: count }, () => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      let left = random.nextFloat() * total;
      let chosen = weights.findIndex((weight) => (left -= weight) < 0);
      // Rounding may leave a rest: then the last one that can be drawn.
      if (chosen < 0) chosen = weights.findLastIndex((weight) => weight > 0);
      if (!repeats) weights[chosen] = 0;
      return this.#entries[chosen].group;
    });
  }

  /**
   * Keeps the groups of a round whose rewards differ, and replaces the others.
   *
   * @param rollout with everything that training needs
   * @param deviations standard deviation of each group's rewards
   * @param round as in `draw()`
   */
  replay(rollout: Rollout, deviations: ArrayLike<number>, round: number): ReplayedRound {
    const { groups, sampledAtStep } = rollout;
    const isEqual = groups.map((_, number) => !(deviations[number] > 0));
    groups.forEach((group, number) => {
      if (isEqual[number]) return;
      const score = replayScore(
        group.sequences.map(({ advantage }) => advantage),
        deviations[number],
      );
      if (score > 0) this.add(score, { ...group, sampledAtStep });
    });
    const drawn = this.draw(isEqual.filter((equal) => equal).length, round);
    let next = 0;
    return {
      rollout: {
        ...rollout,
        groups: groups.map((group, number) => isEqual[number] ? drawn[next++] ?? group : group),
      },
      replaced: drawn.length,
    };
  }

  /** For a checkpoint. */
  state(): StoredReplay {
    return this.#unread ?? this.#entries.map(({ score, stored }) => ({ score, group: stored }));
  }

  /** From a checkpoint; prompts are read when a round needs them. */
  restore(state: StoredReplay): void {
    this.#entries = [];
    this.#unread = state;
  }

  /** Reads the prompts of a restored buffer. To be called before a round is replayed. */
  async ready(
    promptAt: (cursor: DataCursor) => Promise<GRPOPrompt>,
    picturesOf?: PicturesOf,
  ): Promise<void> {
    const stored = this.#unread;
    if (stored === null) return;
    const entries: Entry[] = [];
    // If the buffer has become smaller, the highest scores stay.
    for (const { score, group } of stored.slice(-this.size)) {
      entries.push({
        score,
        group: await restoreGroup(group, promptAt, picturesOf),
        stored: group,
      });
    }
    this.#entries = entries;
    this.#unread = null;
  }
}
