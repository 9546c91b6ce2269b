"""Runs the parts of a vision-language model under torch.autocast on the CPU, in both formats, and
prints inputs, values and gradients as JSON, for autocast_interop_test.ts."""
import json

import torch
import torch.nn.functional as F

torch.manual_seed(0)


def noise(*shape, scale=1.0):
    return (torch.rand(*shape) * 2 - 1) * scale


def run(dtype, f, inputs, dy):
    """Value and gradients of f under autocast, for a float32 consumer of the value."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    with torch.autocast("cpu", dtype=dtype):
        y = f(*leaves)
    (y.float() * dy).sum().backward()
    return {
        "inputs": [{"shape": list(x.shape), "values": x.flatten().tolist()} for x in inputs],
        "dy": {"shape": list(dy.shape), "values": dy.flatten().tolist()},
        "value": y.detach().float().flatten().tolist(),
        "gradients": [leaf.grad.flatten().tolist() for leaf in leaves],
        "half": y.dtype == dtype,
    }


def attention(causal):
    def f(q, k, v):  # [B, T, H, D] each
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return y.transpose(1, 2).flatten(2)
    return f


targets = torch.tensor([0, 3, 99, 41, 7, 7])


def head(h, w):
    return -F.cross_entropy(F.linear(h, w), targets, reduction="none")


def gelu_layer(x, w, b, v):
    return F.linear(F.gelu(F.linear(x, w, b), approximate="tanh"), v)


def cases(dtype):
    # Gate and up are what two linear layers give: 16 bits wide.
    def swiglu(gate, up):
        return F.silu(gate.to(dtype)) * up.to(dtype)

    def factor():
        return noise(200, scale=4).to(dtype).float()

    B, T, H, D = 2, 9, 3, 16
    qkv = [noise(B, T, H, D) for _ in range(3)]
    dy = noise(B, T, H * D)
    layer = [noise(7, 12), noise(20, 12), noise(20), noise(10, 20)]
    return {
        "linear": run(dtype, F.linear, [noise(13, 40), noise(24, 40), noise(24)], noise(13, 24)),
        "linear without bias": run(dtype, F.linear, [noise(5, 7), noise(3, 7)], noise(5, 3)),
        "attention": run(dtype, attention(False), qkv, dy),
        "causal attention": run(dtype, attention(True), qkv, dy),
        "swiglu": run(dtype, swiglu, [factor(), factor()], noise(200)),
        "gelu": run(dtype, gelu_layer, layer, noise(7, 10)),
        "head": run(dtype, head, [noise(6, 24), noise(100, 24)], noise(6)),
    }


print(json.dumps({"bf16": cases(torch.bfloat16), "fp16": cases(torch.float16)}))
