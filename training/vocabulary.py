"""What the embedded model's tokenizer consists of: special tokens, splitting, chat template."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

END, SOLVE, THINK, JUDGE = SPECIAL = ["<|end|>", "<|solve|>", "<|think|>", "<|judge|>"]

# llama.cpp, src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_QWEN2.
QWEN2_SPLIT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The last user message is the question; instructions in system messages are not for this model;
# an assistant message after it is the beginning of the answer. The ignored text is read all the
# same: llama.cpp takes a template that never reads a system message for one that cannot, and would
# put that message in front of the question.
CHAT_TEMPLATE = (
    "{%- set ns = namespace(question='', prefix='', ignored='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{%- set ns.question = message['content'] -%}{%- set ns.prefix = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- set ns.prefix = message['content'] -%}"
    "{%- else -%}"
    "{%- set ns.ignored = message['content'] -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{{- '<|solve|>' + ns.question + '\\n' + ns.prefix -}}"
)


def build(merges: list[tuple[str, str]], vocab: dict[str, int]) -> Tokenizer:
    """Assemble the tokenizer around a vocabulary; special tokens must have ids 0 to 3."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab or None, merges=merges or None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer
