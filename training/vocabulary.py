"""What the embedded model's tokenizer consists of: special tokens, splitting, chat template."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

END, SOLVE, THINK, JUDGE = SPECIAL = ["<|end|>", "<|solve|>", "<|think|>", "<|judge|>"]
THOUGHT_END = "</think>"  # between a thinking trace and the answer
RESERVED = [*SPECIAL, THOUGHT_END]  # the first ids; the last is one token and yet plain text

# llama.cpp, src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_QWEN2.
QWEN2_SPLIT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The last user message is the question; an assistant message after it is the beginning of the
# answer. A tag in a system message chooses the mode, and so does enable_thinking (the name that
# Qwen3's template has made usual); whatever else the system message says is not for this model.
# llama.cpp tries a template out: one that never reads a system message is taken for one that
# cannot, and the message would be put in front of the question.
CHAT_TEMPLATE = (
    "{%- set ns = namespace(mode='<|solve|>', question='', prefix='') -%}"
    "{%- if enable_thinking is defined and enable_thinking -%}"
    "{%- set ns.mode = '<|think|>' -%}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{%- set ns.question = message['content'] -%}{%- set ns.prefix = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- set ns.prefix = message['content'] -%}"
    "{%- elif '<|think|>' in message['content'] -%}"
    "{%- set ns.mode = '<|think|>' -%}"
    "{%- elif '<|judge|>' in message['content'] -%}"
    "{%- set ns.mode = '<|judge|>' -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{{- ns.mode + ns.question + '\\n' + ns.prefix -}}"
)


def build(merges: list[tuple[str, str]], vocab: dict[str, int]) -> Tokenizer:
    """Assemble the tokenizer around a vocabulary; ``RESERVED`` must have the first ids."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab or None, merges=merges or None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(THOUGHT_END, special=False, normalized=False)])
    return tokenizer
