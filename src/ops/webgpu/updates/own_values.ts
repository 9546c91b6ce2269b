import * as tf from "@tensorflow/tfjs";
import { currentLaunch } from "../runtime/launch.ts";

/** Gives a variable values of its own, if it shares them: what is changed in place must not be shared. */
export function ownValues(variable: tf.Variable): void {
  if (currentLaunch().backend.refCount(variable.dataId) === 1) return;
  tf.tidy(() =>
    variable.assign(variable.mul(variable.dtype === "int32" ? tf.scalar(1, "int32") : 1))
  );
}
