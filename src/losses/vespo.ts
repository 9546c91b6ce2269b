/**
 * VESPO's weight of a sequence.
 *
 * @module
 */

/** The four numbers of VESPO's weight, with TRL's defaults 2, 3, 3, 2. */
export interface VespoSettings {
  kPos: number;
  lambdaPos: number;
  kNeg: number;
  lambdaNeg: number;
}

/** TRL's defaults. */
export const DEFAULT_VESPO: VespoSettings = { kPos: 2, lambdaPos: 3, kNeg: 3, lambdaNeg: 2 };

const LOWEST_LOG_WEIGHT = Math.log(1e-8);
const HIGHEST_LOG_WEIGHT = 20;

/**
 * φ(w) = e^λ · w^k · e^(−λw), a gamma density scaled to φ(1) = 1, of the sequence's importance
 * ratio w = Π r_t. "VESPO: Variational Sequence-Level Soft Policy Optimization", arXiv 2602.10693,
 * section 3.4;
 * bounds as in TRL.
 *
 * @param logRatios log π_θ − log π_old of the sequence's own tokens
 */
export function vespoWeight(
  logRatios: Iterable<number>,
  advantage: number,
  settings: VespoSettings,
): number {
  let sum = 0;
  for (const logRatio of logRatios) sum += Math.min(Math.max(logRatio, -20), 20);
  const logWeight = Math.min(Math.max(sum, LOWEST_LOG_WEIGHT), HIGHEST_LOG_WEIGHT);
  const k = advantage >= 0 ? settings.kPos : settings.kNeg;
  const lambda = Math.max(advantage >= 0 ? settings.lambdaPos : settings.lambdaNeg, 1e-4);
  const phi = Math.exp(lambda + k * logWeight - lambda * Math.exp(logWeight));
  return Number.isFinite(phi) ? phi : 0;
}
