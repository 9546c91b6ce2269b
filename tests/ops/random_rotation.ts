/** Rotary embedding of attention under test. */
import * as tf from "@tensorflow/tfjs";
import { rotaryAngles, type Rotation } from "../../src/ops/attention/rotary_angles.ts";

/** Turns [B, T] queries of D dims by positions that differ from row to row; frees its angles. */
export function randomRotation(
  [B, T, D]: readonly [number, number, number],
  keys: boolean,
): { rotation: Rotation; dispose: () => void } {
  const positions = Int32Array.from({ length: B * T }, (_, i) => (i * 7 + Math.floor(i / T)) % 61);
  const angles = rotaryAngles(positions, B, {
    headDim: D,
    base: 100,
    maxPositions: 40, // fewer: the angles are scaled
    attentionScaling: 0.9,
  });
  return { rotation: { angles, keys }, dispose: () => tf.dispose([angles.cos, angles.sin]) };
}
