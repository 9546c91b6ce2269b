/**
 * What a benchmark counts: seconds that pass, or seconds of processor time.
 *
 * @module
 */

/** Seconds since some moment. */
export type Clock = () => number;

/** Seconds that pass. */
export const wallClock: Clock = () => performance.now() / 1000;

/**
 * Processor seconds of all threads of this process, to the nanosecond: what a busy machine hardly
 * changes. On one thread of an idle machine it is the time that passes.
 */
const cpuClock: Clock = () => {
  let nanoseconds = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      nanoseconds += Number(
        Deno.readTextFileSync(`/proc/self/task/${name}/schedstat`).split(" ")[0],
      );
    } catch {
      // A thread that has ended meanwhile.
    }
  }
  return nanoseconds / 1e9;
};

/**
 * A clock by its name.
 *
 * @throws {Error} if the system does not count processor time in that way
 */
export function clockNamed(name: "wall" | "cpu"): Clock {
  if (name === "wall") return wallClock;
  try {
    Deno.readTextFileSync("/proc/self/schedstat");
  } catch (cause) {
    throw new Error(
      "Cannot count processor time: /proc/self/schedstat cannot be read; use --clock wall, or Linux " +
        "with --allow-read",
      { cause },
    );
  }
  return cpuClock;
}
