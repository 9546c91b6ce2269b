/**
 * The constants of the memory estimate that are measured and not derived.
 *
 * `bench/fit_memory.ts --write` writes this file; docs/runs/fit_memory.log has its table.
 *
 * @module
 */

/**
 * Hidden, inner and key/value channels have factors in floats a token or patch; "plain" is what plain
 * tfjs ops keep beside the fused ones.
 */
export interface MemoryConstants {
  /** The most is held in the backward pass of SwiGLU or in that of attention. */
  readonly decoderFloat32SwigluHidden: number;
  readonly decoderFloat32SwigluInner: number;
  readonly decoderFloat32AttentionHidden: number;
  readonly decoderFloat32AttentionKeys: number;
  readonly decoderHalfGpuSwigluHidden: number;
  readonly decoderHalfGpuSwigluInner: number;
  readonly decoderHalfGpuAttentionHidden: number;
  readonly decoderHalfGpuAttentionKeys: number;
  readonly decoderHalfSwigluHidden: number;
  readonly decoderHalfSwigluInner: number;
  readonly decoderHalfAttentionHidden: number;
  readonly decoderHalfAttentionKeys: number;
  readonly visionFloat32Hidden: number;
  readonly visionFloat32Inner: number;
  readonly visionHalfHidden: number;
  readonly visionHalfInner: number;
  /** All that a block of a frozen vision encoder holds in its forward pass. */
  readonly frozenVisionFloat32Hidden: number;
  readonly frozenVisionFloat32Inner: number;
  readonly frozenVisionHalfHidden: number;
  readonly frozenVisionHalfInner: number;
  readonly plainDecoderFloat32Hidden: number;
  readonly plainDecoderFloat32Inner: number;
  readonly plainDecoderHalfHidden: number;
  readonly plainDecoderHalfInner: number;
  readonly plainVisionFloat32Hidden: number;
  readonly plainVisionFloat32Inner: number;
  readonly plainVisionHalfHidden: number;
  readonly plainVisionHalfInner: number;
  /** Matrices of attention scores that plain ops keep of a block. */
  readonly plainScores: number;
  /** On a GPU: what is freed but waits for its commands, as a share of a decoder block. */
  readonly waitingFloat32: number;
  /** A software adapter rounds operands into tensors of their own. */
  readonly waitingHalfSoftware: number;
  /** Not measured: no hardware adapter was available. */
  readonly waitingHalfHardware: number;
  /** The share of it in a run with gradient checkpointing. */
  readonly waitingRecomputedFloat32: number;
  readonly waitingRecomputedHalf: number;
  /** What compiled code and garbage add to the process in its first steps. */
  readonly processGrowthMiB: number;
  /** The compiled shaders of a software adapter. */
  readonly shaderMiB: number;
}

/** Fitted. */
export const MEMORY_CONSTANTS: MemoryConstants = {
  decoderFloat32SwigluHidden: 4.65,
  decoderFloat32SwigluInner: 1.75,
  decoderFloat32AttentionHidden: 8.4,
  decoderFloat32AttentionKeys: 3,
  decoderHalfGpuSwigluHidden: 0.15,
  decoderHalfGpuSwigluInner: 1.45,
  decoderHalfGpuAttentionHidden: 6.3,
  decoderHalfGpuAttentionKeys: 1.6,
  decoderHalfSwigluHidden: 2.65,
  decoderHalfSwigluInner: 4.4,
  decoderHalfAttentionHidden: 9.5,
  decoderHalfAttentionKeys: 5.85,
  visionFloat32Hidden: 4.3,
  visionFloat32Inner: 0.7,
  visionHalfHidden: 9.2,
  visionHalfInner: 0.6,
  frozenVisionFloat32Hidden: 12.95,
  frozenVisionFloat32Inner: 0,
  frozenVisionHalfHidden: 14.7,
  frozenVisionHalfInner: 0.1,
  plainDecoderFloat32Hidden: 22.45,
  plainDecoderFloat32Inner: 0.25,
  plainDecoderHalfHidden: 5.55,
  plainDecoderHalfInner: 0,
  plainVisionFloat32Hidden: 6.55,
  plainVisionFloat32Inner: 10.4,
  plainVisionHalfHidden: 0,
  plainVisionHalfInner: 2.1,
  plainScores: 4.6,
  waitingFloat32: 1.25,
  waitingHalfSoftware: 2.55,
  waitingHalfHardware: 1,
  waitingRecomputedFloat32: 0.45,
  waitingRecomputedHalf: 1.05,
  processGrowthMiB: 88,
  shaderMiB: 28,
};
