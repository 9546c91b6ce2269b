/**
 * Whether an invocation takes one value at a time or four.
 * @module
 */

/** How many values a lane takes at a time, and their type. */
export interface LaneValue {
  readonly width: 1 | 4;
  readonly type: "f32" | "vec4<f32>";
}

/** Four values at a time if `count` is a multiple of four. */
export function laneValue(count: number): LaneValue {
  return count % 4 === 0 ? { width: 4, type: "vec4<f32>" } : { width: 1, type: "f32" };
}

/** WGSL of the sum of a lane's values. */
export function sumOfLane(type: LaneValue["type"], value: string): string {
  return type === "f32" ? value : `dot(${value}, vec4<f32>(1.0))`;
}
