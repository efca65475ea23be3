"""Turn the shipped GGUF file into a folder that transformers and vLLM load.

Usage: python training/gguf_to_hf.py IN.gguf OUT_DIR

Needs gguf, numpy, safetensors and tokenizers, not torch. Weights are written as 32-bit floats.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

from vocabulary import END, SPECIAL, build

PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """Return a metadata value, or say which one is missing."""
    field = reader.get_field(key)
    if field is None:
        raise SystemExit(f"the GGUF file has no {key}; expected one made by export_gguf.py")
    return field.contents()


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of rotary pairs in q and k."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def weights(reader: gguf.GGUFReader, heads: int) -> dict[str, np.ndarray]:
    """Return every weight as float32 under its Hugging Face name."""
    found = {}
    for tensor in reader.tensors:
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        stem = tensor.name.removesuffix(".weight")
        if stem == "token_embd":
            name = "model.embed_tokens"
        elif stem == "output_norm":
            name = "model.norm"
        else:
            _, layer, part = stem.split(".")
            name = f"model.layers.{layer}.{PARTS[part]}"
            if part in ("attn_q", "attn_k"):
                data = split_halves(data, heads)
        found[f"{name}.weight"] = data
    return found


def config(reader: gguf.GGUFReader) -> dict[str, Any]:
    """Return config.json's content."""
    tokens = value(reader, "tokenizer.ggml.tokens")
    end = tokens.index(END)
    theta = float(value(reader, "llama.rope.freq_base"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": value(reader, "llama.embedding_length"),
        "intermediate_size": value(reader, "llama.feed_forward_length"),
        "num_hidden_layers": value(reader, "llama.block_count"),
        "num_attention_heads": value(reader, "llama.attention.head_count"),
        "num_key_value_heads": value(reader, "llama.attention.head_count_kv"),
        "head_dim": value(reader, "llama.rope.dimension_count"),
        "max_position_embeddings": value(reader, "llama.context_length"),
        "rms_norm_eps": float(value(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "vocab_size": len(tokens),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": end,
        "torch_dtype": "float32",
    }


def convert(source: Path, out: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    reader = gguf.GGUFReader(source)
    settings = config(reader)
    out.mkdir(parents=True, exist_ok=True)
    tokens = value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value(reader, "tokenizer.ggml.merges")]
    build(merges, {token: i for i, token in enumerate(tokens)}).save(str(out / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "additional_special_tokens": [token for token in SPECIAL if token != END],
        "clean_up_tokenization_spaces": False,
        "model_max_length": settings["max_position_embeddings"],
        "chat_template": value(reader, "tokenizer.chat_template"),
    }
    for name, content in (("config.json", settings), ("tokenizer_config.json", about)):
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    tensors = weights(reader, settings["num_attention_heads"])
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})


def main() -> None:
    """Read the options and convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    convert(options.source, options.out)


if __name__ == "__main__":
    main()
