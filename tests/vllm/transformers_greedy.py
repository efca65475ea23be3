"""Continue chats greedily with transformers: JSON lists of bodies in, JSON list of texts out.

Run by the interpreter of .venv-vllm, which has transformers and torch:
    python transformers_greedy.py MODEL_DIR < bodies.json
A body has `messages`, `max_tokens`, and `continue_final_message` where the last is to be continued.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    texts = []
    for body in json.load(sys.stdin):
        prompt = tokenizer.apply_chat_template(
            body["messages"],
            tokenize=False,
            continue_final_message=body.get("continue_final_message", False),
            add_generation_prompt=not body.get("continue_final_message", False),
        )
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=body["max_tokens"],
            do_sample=False,
        )
        new = out[0, ids.shape[1] :].tolist()
        if new[-1] == tokenizer.eos_token_id:
            new.pop()
        texts.append(tokenizer.decode(new))
    json.dump(texts, sys.stdout)


if __name__ == "__main__":
    main()
