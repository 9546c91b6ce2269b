#!/usr/bin/env bash
# bitsandbytes 0.50.2: on the CPU, quantize_blockwise rounds through a table of 65536 even steps from -1
# to 1, although the dynamic map that it rounds to has codes down to 1e-7. A value below some 1e-5 of its
# block's largest magnitude comes back as 2.1e-5 of it with the signed dynamic map, and as 1.6e-5 with
# the unsigned one; so does an exact 0, for which both have a code. The same function's implementation in PyTorch (the one for devices without
# kernels) gives the nearest code. AdamW8bit on a CPU therefore never has a second moment near 0 in a
# block with a large one. Exits 1 if the CPU gives the nearest codes, or the numbers change.
# Needs Python 3.10 or later with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check bitsandbytes==0.50.2 torch==2.13.0 numpy==2.2.6
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import sys
import bitsandbytes
import torch
import bitsandbytes.functional as F

print("bitsandbytes", bitsandbytes.__version__, "torch", torch.__version__)
values = torch.zeros(256)
values[:6] = torch.tensor([1.0, 1e-3, 3e-5, 1e-5, 1e-6, 0.0])
seen = []
for signed in (True, False):
    code = F.create_dynamic_map(signed=signed)
    back = F.dequantize_blockwise(*F.quantize_blockwise(values, code=code, blocksize=256))
    nearest = code[(values[:, None] - code[None, :]).abs().argmin(1)]
    print("signed map" if signed else "unsigned map", "holds 0:", 0.0 in code.tolist())
    for value, cpu, best in zip(values[:6].tolist(), back[:6].tolist(), nearest[:6].tolist()):
        print(f"  {value:.2e} comes back as {cpu:.3e}, the nearest code is {best:.3e}")
    seen.append(nearest[5] == 0 and 1.5e-5 < back[5].item() < 2.2e-5 and back[1] == nearest[1])
sys.exit(0 if all(seen) else 1)
PY
