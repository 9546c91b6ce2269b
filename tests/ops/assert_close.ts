/** Fails if a value is further from its oracle than `tolerance` · (1 + largest oracle value). */
export function assertClose(
  got: ArrayLike<number>,
  oracle: ArrayLike<number>,
  tolerance: number,
  name: string,
): void {
  if (got.length !== oracle.length) {
    throw new Error(`${name}: got ${got.length} values, wanted ${oracle.length}`);
  }
  let scale = 1;
  for (let i = 0; i < oracle.length; i++) scale = Math.max(scale, Math.abs(oracle[i]));
  for (let i = 0; i < oracle.length; i++) {
    const error = Math.abs(got[i] - oracle[i]);
    if (!(error <= tolerance * scale)) {
      throw new Error(
        `${name}: value ${i} is ${got[i]}, wanted ${oracle[i]} (error ${error}, allowed ${
          tolerance * scale
        })`,
      );
    }
  }
}
