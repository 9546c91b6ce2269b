/**
 * Preloaded for the quick group: a test there that asks for a GPU adapter fails and is told where
 * it belongs.
 *
 * @module
 */
if (navigator.gpu !== undefined) {
  Object.defineProperty(navigator.gpu, "requestAdapter", {
    value: () =>
      Promise.reject(
        new Error(
          "Cannot ask for a GPU adapter in the quick group: import tests/gpu_adapter.ts, which " +
            "puts the file into the gpu group",
        ),
      ),
  });
}
