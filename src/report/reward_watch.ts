import type { MetricsRecord } from "./files/metrics_record.ts";
import type { Concern } from "./watch/concern.ts";

/** Records in a row that must look bad before anything is said. */
const ROW = 5;
/** Records in a row over which a reward function must not move. */
const STILL_ROW = 20;
/** Mean KL divergence per token, in nats, that no healthy run keeps up. */
const KL_LIMIT = 1;

/**
 * Looks for what wastes a GRPO run: completions that are cut off, groups whose rewards are all equal, a
 * KL divergence that grows without end, reward functions that never change or never score. Each warning
 * is given once.
 */
export class RewardWatch {
  readonly #recent: MetricsRecord[] = [];
  readonly #said = new Set<string>();
  #active: readonly Concern[] = [];
  #firstReward: number | null = null;

  /**
   * Takes in the record of a logging step.
   *
   * @param record under TRL's names
   * @returns warnings that were not given before
   */
  observe(record: MetricsRecord): string[] {
    if (!("reward" in record)) return [];
    if (typeof record.reward === "number") this.#firstReward ??= record.reward;
    this.#recent.push(record);
    if (this.#recent.length > STILL_ROW) this.#recent.shift();
    const found = [...this.#overall(), ...this.#byFunction(record)];
    this.#active = found.map(([name, text]) => ({ name, text }));
    return found.filter(([name]) => {
      const isNew = !this.#said.has(name);
      this.#said.add(name);
      return isNew;
    }).map(([, text]) => text);
  }

  /** What is wrong now. Equal rewards are not, if they are higher than at the beginning. */
  get active(): readonly Concern[] {
    const improved = this.#hasImproved();
    return this.#active.filter(({ name }) => !improved || !/^(no_spread|still)\b/.test(name));
  }

  #hasImproved(): boolean {
    const first = this.#firstReward;
    const rewards = this.#recent.slice(-ROW)
      .map(({ reward }) => reward).filter((reward) => typeof reward === "number");
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
    return first !== null && mean > first + 0.05 * Math.abs(first) + 0.01;
  }

  *#overall(): Generator<readonly [string, string]> {
    const lately = this.#recent.slice(-ROW);
    if (lately.length < ROW) return;
    const all = (key: string, test: (value: number) => boolean) =>
      lately.every(({ [key]: value }) => typeof value === "number" && test(value));
    if (all("completions/clipped_ratio", (ratio) => ratio > 0.5)) {
      yield [
        "truncated",
        "Over half of the completions are cut off before they end (completions/clipped_ratio): " +
        "raise grpo.max_completion_length, or ask for shorter answers in the prompt",
      ];
    }
    if (all("frac_reward_zero_std", (share) => share === 1)) {
      yield [
        "no_spread",
        "Every advantage is zero: all completions of a group earn the same (frac_reward_zero_std " +
        "is 1), so nothing is learned; take prompts that are neither too easy nor too hard, raise " +
        "grpo.temperature or grpo.num_generations, or give rewards that tell answers apart",
      ];
    }
    if (all("kl", (kl) => kl > KL_LIMIT)) {
      yield [
        "kl",
        `The model runs away from its reference: kl stays above ${KL_LIMIT} a token; lower the ` +
        "learning rate, raise grpo.beta, or lower training.max_grad_norm",
      ];
    }
  }

  *#byFunction(record: MetricsRecord): Generator<readonly [string, string]> {
    for (const key of Object.keys(record)) {
      const name = /^rewards\/(.+)\/mean$/.exec(key)?.[1];
      if (name === undefined) continue;
      const means = this.#recent.map(({ [key]: mean }) => mean ?? null);
      if (means.length >= ROW && means.slice(-ROW).every((mean) => mean === null)) {
        yield [
          `silent ${name}`,
          `The reward function ${name} has scored nothing for ${ROW} logging steps: see what it ` +
          "says with `reward check`",
        ];
      }
      const spread = record[`rewards/${name}/std`];
      if (
        means.length === STILL_ROW && spread === 0 &&
        means.every((mean) => mean !== null && mean === means[0])
      ) {
        yield [
          `still ${name}`,
          `The reward function ${name} gives ${means[0]} to everything for ${STILL_ROW} logging ` +
          "steps: it teaches nothing; see with `reward check` whether it does what it should",
        ];
      }
    }
  }
}
