"""Chat templates: prompts as text, from the server or from the model's own files."""

import json
import sys

import pytest
from aiohttp import web

from dynasor.core.errors import ConfigError, EngineGarbage, EngineRefused
from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.datasets import heldout
from dynasor.engines.http import HttpEngine
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Meter
from dynasor.engines.templates import FileTemplate

pytestmark = pytest.mark.timeout(20)

# Cuts the thoughts of an assistant message out, as those of reasoning models do.
TEMPLATE = """{{ bos_token }}{% for m in messages %}
{{ '<' + m.role + '>' + m.content.split('</think>')[-1] + '<end>' }}
{%- endfor %}
{% if add_generation_prompt %}
<assistant><think>
{% endif %}"""
RENDERED = "<s><user>hi<end><assistant><think>\n"
ASKED = (Message("user", "hi"),)


def chunk(**choice):
    return f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode()


class Served:
    """A server of one kind whose template's endpoints may be missing, or refuse."""

    def __init__(self, owner):
        self.owner = owner
        self.rendered = []
        self.texts = []
        self.chats = []
        self.refusal = None
        self.rendering = RENDERED
        self.url = ""

    def app(self, *, has_template):
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        if has_template:
            app.router.add_post("/apply-template", self._apply)
            app.router.add_post("/tokenize", self._tokenize)
            app.router.add_post("/detokenize", self._detokenize)
        return app

    async def _models(self, request):
        return web.json_response({"data": [{"id": "toy", "owned_by": self.owner}]})

    async def _apply(self, request):
        self.rendered.append((await request.json())["messages"])
        if self.refusal is not None:
            return web.json_response({"error": {"message": "no"}}, status=self.refusal)
        return web.json_response({"prompt": self.rendering})

    async def _tokenize(self, request):
        body = await request.json()
        self.rendered.append(body["messages"])
        assert body["add_generation_prompt"] is True
        return web.json_response({"tokens": [ord(c) for c in self.rendering], "count": 1})

    async def _detokenize(self, request):
        tokens = (await request.json())["tokens"]
        return web.json_response({"prompt": "".join(map(chr, tokens))})

    async def _chat(self, request):
        self.chats.append(await request.json())
        return await self._stream(request, lambda word: {"delta": {"content": word}})

    async def _complete(self, request):
        body = await request.json()
        self.texts.append(body)
        listed = {"token_logprobs": [-0.5], "tokens": ["x"]} if "logprobs" in body else None
        return await self._stream(request, lambda word: {"text": word, "logprobs": listed})

    async def _stream(self, request, say):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("so ", "it ", "is"):
            await response.write(chunk(**say(word)))
        await response.write(chunk(**say("") | {"logprobs": None}, finish_reason="stop"))
        usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
        await response.write(f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode())
        return response


@pytest.fixture
async def serve():
    """Start servers on free ports of the loopback interface."""
    runners = []

    async def start(owner, *, has_template=True):
        served = Served(owner)
        runner = web.AppRunner(served.app(has_template=has_template), shutdown_timeout=0.05)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return served

    yield start
    for runner in runners:
        await runner.cleanup()


async def asked(served, *works, **options):
    """Start an engine, generate each in turn, and return the last outcome."""
    engine = HttpEngine(served.url, **options)
    await engine.start()
    try:
        done = [await engine.generate(work, Meter()) for work in works]
    finally:
        await engine.close()
    return done[-1]


def go_on(prefix="I think", every=0, **sampling):
    return Generate(Prompt(ASKED, prefix), Sampling(9, seed=1, **sampling), every)


@pytest.mark.parametrize("owner", ["vllm", "llamacpp"])
async def test_prefix_goes_behind_the_rendering(serve, owner):
    """A prefix is continued as text, right behind the server's own rendering of the messages."""
    served = await serve(owner)
    done = await asked(served, go_on())
    (body,) = served.texts
    assert body["prompt"] == RENDERED + "I think"
    assert (body["model"], body["max_tokens"], body["seed"]) == ("toy", 9, 1)
    assert body.get("add_special_tokens") is (False if owner == "vllm" else None)
    assert served.chats == []
    assert (done.text, done.usage.completion_tokens) == ("so it is", 3)


async def test_streams_that_are_read_go_as_text(serve):
    """What is read while it runs is text too: its thoughts' tags must not be taken away."""
    served = await serve("vllm")
    await asked(served, go_on("", every=2))
    assert served.texts[0]["prompt"] == RENDERED
    await asked(served, go_on(""))
    assert len(served.chats) == 1


async def test_rendered_once(serve):
    """Messages are rendered once for all calls with them."""
    served = await serve("llamacpp")
    await asked(served, go_on("a"), go_on("b"), go_on("c"))
    assert served.rendered == [[{"role": "user", "content": "hi"}]]
    assert len(served.texts) == 3


async def test_logprobs(serve):
    """The endpoint for text is asked for log-probabilities in its own way."""
    served = await serve("vllm")
    done = await asked(served, go_on(has_logprobs=True))
    assert served.texts[0]["logprobs"] == 1
    assert done.mean_logprob == -0.5


@pytest.mark.parametrize("owner", ["vllm", "llamacpp"])
async def test_server_without_the_endpoint(serve, owner):
    """A server that does not show its template continues by its chat endpoint."""
    served = await serve(owner, has_template=False)
    await asked(served, go_on(), go_on())
    assert [body["messages"][-1]["content"] for body in served.chats] == ["I think"] * 2


async def test_template_that_refuses(serve):
    """Messages that the server's template refuses are left to its chat endpoint to refuse."""
    served = await serve("llamacpp")
    served.refusal = 400
    await asked(served, go_on())
    assert len(served.chats) == 1


async def test_rendering_that_is_none(serve):
    """A rendering of another shape is EngineGarbage that names the server."""
    served = await serve("llamacpp")
    served.rendering = 7
    with pytest.raises(EngineGarbage, match="apply-template"):
        await asked(served, go_on())


async def test_sglang_needs_none(serve):
    """SGLang puts the prefix behind its template by itself."""
    served = await serve("sglang")
    await asked(served, go_on())
    assert served.chats[0]["continue_final_message"] is True
    assert served.rendered == []


# From files.


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a template of its own."""
    pytest.importorskip("jinja2", reason="templates from files need jinja2")
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": TEMPLATE}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


async def test_any_server_with_a_template(serve, folder):
    """With a template at hand, a server that nobody knows continues a text."""
    served = await serve("somebody")
    engine = HttpEngine(served.url, chat_template=folder)
    description = await engine.start()
    assert "prefix" in description.supports
    await engine.close()
    await asked(served, go_on(), go_on(""), chat_template=folder)
    start = RENDERED.removeprefix("<s>")
    assert [body["prompt"] for body in served.texts] == [start + "I think", start]
    assert served.chats == []


async def test_start_token(serve, folder):
    """The token that begins a text is sent only where the server is told to add none."""
    served = await serve("vllm")
    await asked(served, go_on(), chat_template=folder)
    assert served.texts[0]["prompt"] == RENDERED + "I think"


async def test_file_or_folder(folder):
    """A folder, its configuration and its Jinja file mean the same; the Jinja file goes before."""
    config = folder / "tokenizer_config.json"
    expected = await FileTemplate(folder, has_start=True).render(ASKED)
    assert expected == RENDERED
    assert await FileTemplate(config, has_start=True).render(ASKED) == RENDERED
    jinja = folder / "chat_template.jinja"
    jinja.write_text(TEMPLATE.replace("<think>", ""))
    other = RENDERED.replace("<think>", "")
    assert await FileTemplate(folder, has_start=True).render(ASKED) == other
    assert await FileTemplate(jinja, has_start=True).render(ASKED) == other


async def test_named_templates(folder):
    """Of several templates the default one is taken."""
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert await FileTemplate(folder).render(ASKED) == "yes"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ("{}", "no template"),
        (json.dumps({"chat_template": "{% if %}"}), "chat_template"),
        (json.dumps({"chat_template": ["x"]}), "no template"),
        ("\udce9", "cannot be read"),
    ],
)
def test_bad_files(folder, content, complaint):
    """A file without a usable template is a ConfigError that names it."""
    path = folder / "tokenizer_config.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=complaint) as caught:
        FileTemplate(folder)
    assert str(folder) in str(caught.value)


def test_mistyped_file(folder):
    """A file that is not there is refused, whatever else its folder holds; the setting is named."""
    with pytest.raises(ConfigError, match="reward_template .*templat.jinja.*no such file"):
        FileTemplate(folder / "chat_templat.jinja", setting="reward_template")


def test_missing_file(tmp_path):
    """A path where nothing lies is a ConfigError that names it."""
    for path in (tmp_path / "no.jinja", tmp_path / "no.json", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            FileTemplate(path)


async def test_template_that_raises(folder):
    """A template that refuses the messages is EngineRefused, in its own words."""
    jinja = folder / "chat_template.jinja"
    jinja.write_text("{{ raise_exception('no system message') }}")
    with pytest.raises(EngineRefused, match="no system message"):
        await FileTemplate(jinja).render(ASKED)


async def test_template_that_reaches_out(folder):
    """A template cannot reach Python's insides."""
    jinja = folder / "chat_template.jinja"
    jinja.write_text("{{ messages.__class__.__base__.__subclasses__() }}")
    with pytest.raises(EngineRefused):
        await FileTemplate(jinja).render(ASKED)


def test_without_jinja2(tmp_path, monkeypatch):
    """Without jinja2 the error says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    path = tmp_path / "chat_template.jinja"
    path.write_text("x")
    with pytest.raises(ConfigError, match="pip install jinja2"):
        FileTemplate(path)


@pytest.mark.engine
@pytest.mark.timeout(60)
async def test_embedded_model_goes_on_exactly():
    """The embedded model goes on with its own half-finished thoughts as if never interrupted."""
    engine = LlamaCppEngine(slots=2, threads=1)
    await engine.start()
    messages = (Message("system", "<|think|>"), Message("user", heldout(2)[1].question))
    whole = await engine.generate(
        Generate(Prompt(messages), Sampling(400, temperature=0.0)), Meter()
    )
    lines = whole.text.split("\n")
    half = "\n".join(lines[: len(lines) // 2]) + "\n"
    rest = await engine.generate(
        Generate(Prompt(messages, half), Sampling(400, temperature=0.0)), Meter()
    )
    await engine.close()
    assert half + rest.text == whole.text
