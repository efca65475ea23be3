"""The embedded model's architecture: a small Llama, with Hugging Face's names and layout."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """State the sizes that a Llama checkpoint needs; about 5 million parameters as given."""

    vocab: int = 768
    layers: int = 6
    hidden: int = 256
    heads: int = 4
    mlp: int = 704
    context: int = 768
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5


Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (batch, heads, length, head size), of what was read so far."""


class Attention(nn.Module):
    """Attend with rotary positions in Hugging Face's half-split layout."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(shape.hidden, shape.hidden, bias=False))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, hidden = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(batch, length, self.heads, -1).transpose(1, 2)

        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        out = attend(q, k, v)
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, hidden)), (k, v)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend causally; the last query stands at the last key's position.

    Written out, because PyTorch's fused attention in bfloat16 takes twice as long on a CPU.
    """
    if q.is_cuda and q.shape[2] == k.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    queries, keys = q.shape[2], k.shape[2]
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    hidden = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(keys - queries + 1)
    return scores.masked_fill(hidden, float("-inf")).softmax(-1).to(v.dtype) @ v


class Mlp(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.mlp, bias=False)
        self.down_proj = nn.Linear(shape.mlp, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer: attention and feed-forward, each after a norm, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)
        self.mlp = Mlp(shape)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        attended, now = self.self_attn(self.input_layernorm(x), cos, sin, past)
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x)), now


class Llama(nn.Module):
    """Map token ids (batch, length) to logits (batch, length, vocab)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.norm_eps)
        size = shape.hidden // shape.heads
        speeds = shape.rope_theta ** (-torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(shape.context).float(), speeds).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.apply(lambda m: start(m, shape))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for layer in self.layers:
            x, _ = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)

    def read_on(self, ids: Tensor, cache: Cache) -> Tensor:
        """Read more ids; return the logits after the last, (batch, vocab), and grow the cache."""
        x = self.embed_tokens(ids)
        begin = cache[0][0].shape[2] if cache else 0
        cos, sin = (table[begin : begin + ids.shape[1]] for table in (self.cos, self.sin))
        for index, layer in enumerate(self.layers):
            # Not layer(...): a compiled layer would be compiled again for these shapes.
            x, now = layer.forward(x, cos, sin, cache[index] if begin else None)
            cache[index : index + 1] = [now]
        return F.linear(self.norm(x[:, -1]), self.embed_tokens.weight)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of a head by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def start(module: nn.Module, shape: Shape) -> None:
    """Draw initial weights; matrices that write into the stream start smaller (GPT-2)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, Attention):
        nn.init.normal_(module.o_proj.weight, std=0.02 / (2 * shape.layers) ** 0.5)
    if isinstance(module, Mlp):
        nn.init.normal_(module.down_proj.weight, std=0.02 / (2 * shape.layers) ** 0.5)


@torch.no_grad()
def sample(
    model: Llama, prompts: Tensor, end: int, max_tokens: int, temperature: float
) -> list[list[int]]:
    """Continue prompts of one length, (batch, length), each until ``end``, which is left out."""
    out: list[list[int]] = [[] for _ in prompts]
    running = torch.ones(len(prompts), dtype=torch.bool)
    cache: Cache = []
    ids = prompts
    for _ in range(max_tokens):
        logits = model.read_on(ids, cache).float()
        if temperature > 0:
            ids = torch.multinomial((logits / temperature).softmax(-1), 1)
        else:
            ids = logits.argmax(-1, keepdim=True)
        for row, token in enumerate(ids[:, 0].tolist()):
            running[row] &= token != end
            if running[row]:
                out[row].append(token)
        if not running.any():
            break
    return out
