"""Write a training checkpoint as a GGUF file for llama.cpp.

Usage: python training/export_gguf.py DIR/checkpoint.pt OUT.gguf [--type f16|q8_0]
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch

from model import Shape
from vocabulary import CHAT_TEMPLATE, END, SPECIAL, THOUGHT_END

TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
}
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTSIDE = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder q or k rows: a rotary pair is (i, i + half) in Hugging Face, (2i, 2i+1) here."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def gguf_name(name: str) -> str:
    """Translate a parameter's name; the output matrix is tied and so not written."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, layer, part = name.removesuffix(".weight").split(".", 2)
    return f"blk.{layer}.{PARTS[part]}.weight"


def write_tokenizer(writer: gguf.GGUFWriter, text: str) -> None:
    """Copy vocabulary and merges from a tokenizers JSON text."""
    model = json.loads(text)["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    types = dict.fromkeys(SPECIAL, gguf.TokenType.CONTROL)
    types[THOUGHT_END] = gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([types.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(merges)
    end = tokens.index(END)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_shape(writer: gguf.GGUFWriter, shape: Shape, file_type: gguf.LlamaFileType) -> None:
    """Write the sizes under llama.cpp's names."""
    writer.add_name("dynasor-tiny")
    writer.add_license("Apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.mlp)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(file_type)


def export(checkpoint: Path, out: Path, kind: str) -> None:
    """Convert one file; matrices take the type asked for, norms stay 32-bit."""
    state = torch.load(checkpoint, map_location="cpu")
    shape = Shape(**state["shape"])
    matrix_type, file_type = TYPES[kind]
    writer = gguf.GGUFWriter(out, "llama")
    write_shape(writer, shape, file_type)
    write_tokenizer(writer, state["tokenizer"])
    for name, tensor in state["model"].items():
        weight = tensor.float().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = interleave(weight, shape.heads)
        if weight.ndim == 1:
            writer.add_tensor(gguf_name(name), weight)
        else:
            data = gguf.quants.quantize(weight, matrix_type)
            writer.add_tensor(gguf_name(name), data, raw_dtype=matrix_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out.name}: {out.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Read the options and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="f16")
    options = parser.parse_args()
    export(options.checkpoint, options.out, options.type)


if __name__ == "__main__":
    main()
