#!/usr/bin/env bash
# Transformers 4.55 to 4.57 give the patches of SmolVLM and Idefics3 the position embeddings of their
# neighbours: every row and column but the first takes the position of the one before, so that two rows
# share the first and none has the last. 4.54 and 5.x give each patch its own. The same folder and the
# same picture therefore have other logits in these releases.
#
# Exits 0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/positions.py" <<'PY'
import torch, transformers
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings

side = 4
config = SmolVLMVisionConfig(image_size=8 * side, patch_size=8, hidden_size=1, num_attention_heads=1)
layer = SmolVLMVisionEmbeddings(config)
with torch.no_grad():
    layer.patch_embedding.weight.zero_()
    layer.patch_embedding.bias.zero_()
    layer.position_embedding.weight.copy_(torch.arange(side * side).float()[:, None])
    # A whole tile: every patch is there.
    found = layer(torch.zeros(1, 3, 8 * side, 8 * side), torch.ones(1, side, side, dtype=torch.bool))
print(transformers.__version__, [int(x) for x in found.flatten()])
PY
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2> /dev/null; }
pip torch==2.13.0
run() {
  pip --target "$work/$1" "transformers==$1" pillow
  PYTHONPATH="$work/$1" "$work/venv/bin/python" "$work/positions.py" 2> /dev/null | tail -1
}
moved=$(run 4.57.6)
new=$(run 5.24.0)
printf '%s\n' "$moved" "$new"
own="[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]"
[ "$moved" = "4.57.6 [0, 0, 1, 2, 0, 0, 1, 2, 4, 4, 5, 6, 8, 8, 9, 10]" ]
[ "$new" = "5.24.0 $own" ]
