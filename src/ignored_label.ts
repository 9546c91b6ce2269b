/** Label of a position that no loss counts: PyTorch's `ignore_index`. */
export const IGNORED_LABEL = -100;
