/**
 * What several ranks gain, from measured times: the time of a step of N ranks is that of one rank for
 * its share, plus the sum of the gradients over the network, which does not overlap with computing.
 *
 * A sum over N ranks by a ring sends 2 (N − 1) / N times the bytes through each link (Patarasuk and
 * Yuan, 2009, doi 10.1016/j.jpdc.2008.09.002) in 2 (N − 1) messages; below, by trees, in 2 ⌈log₂ N⌉.
 * Arithmetic, not a measurement.
 *
 * deno run bench/ranks/scaling.ts '[{"name":"LoRA","stepSeconds":3,"bytes":2e7}]' [--overhead 1.25]
 *
 * `overhead`: how much longer a measured sum takes than its bytes at the link's rate.
 *
 * @module
 */

/** A kind of training. */
export interface Workload {
  readonly name: string;
  /** Of one rank for its share of a step. */
  readonly stepSeconds: number;
  /** Of the gradients that are summed. */
  readonly bytes: number;
}

/** A network. */
export interface Link {
  /** Bits a second. */
  readonly rate: number;
  /** One way, seconds. */
  readonly delay: number;
  /** Measured time over bytes / rate. */
  readonly overhead: number;
}

/** Seconds of a sum of gradients. */
export function sumSeconds(bytes: number, ranks: number, { rate, delay, overhead }: Link): number {
  if (ranks === 1) return 0;
  const transfer = overhead * (2 * (ranks - 1) / ranks) * bytes * 8 / rate;
  return transfer + 2 * Math.ceil(Math.log2(ranks)) * delay;
}

/** How much of N ranks is used: 1 is perfect. */
export function efficiency(workload: Workload, ranks: number, link: Link): number {
  const { stepSeconds, bytes } = workload;
  return stepSeconds / (stepSeconds + sumSeconds(bytes, ranks, link));
}

if (import.meta.main) {
  const workloads: Workload[] = JSON.parse(Deno.args[0]);
  const at = Deno.args.indexOf("--overhead");
  const overhead = at < 0 ? 1.25 : Number(Deno.args[at + 1]);
  console.log("| workload | Gbit/s | 4 ranks | 32 ranks | 256 ranks |");
  console.log("| --- | --- | --- | --- | --- |");
  for (const workload of workloads) {
    for (const gigabits of [1, 10, 100]) {
      const link = { rate: gigabits * 1e9, delay: 50e-6, overhead };
      const shares = [4, 32, 256].map((ranks) => {
        const used = efficiency(workload, ranks, link);
        return `${(100 * used).toFixed(1)} % (${(ranks * used).toFixed(1)}×)`;
      });
      console.log(`| ${workload.name} | ${gigabits} | ${shares.join(" | ")} |`);
    }
  }
}
