/**
 * Metrics of an environment.
 *
 * @module
 */
import type { Episode } from "./episode.ts";

/** Means over episodes; nothing without any. */
export function episodeMetrics(episodes: readonly Episode[]): Record<string, number> {
  if (episodes.length === 0) return {};
  const meanOf = (value: (episode: Episode) => number) =>
    episodes.reduce((sum, episode) => sum + value(episode), 0) / episodes.length;
  return {
    "environment/turns": meanOf(({ turns }) => turns),
    "environment/pictures": meanOf(({ pictures }) => pictures.length),
    "environment/tokens": meanOf(({ chosen }) => chosen.filter((own) => !own).length),
    "environment/failed_ratio": meanOf(({ failed }) => failed ? 1 : 0),
    "environment/overlong_ratio": meanOf(({ note, failed }) => note !== null && !failed ? 1 : 0),
  };
}
