"""A test server that speaks enough of the OpenAI and Gemini protocols for the real SDKs, and fails as it is told.

Everything it says is synthetic. Faults come in two ways:

- by arrival: in every block of `per` generation requests each fault of `faults` happens as often as it says, at places drawn from `seed`,
  e.g. --faults '{"429": 10, "500": 4, "malformed": 2, "empty": 2, "hang": 1, "reset": 1}' --per 200
- by content: a prompt whose last message holds [[fault:NAME]] gets that fault each time, [[fault:NAME*2]] the first two times it arrives.

Faults: any HTTP status (429 and 503 with a delay to honour, 500, 401, 404, ...), malformed (half a body of JSON), empty (no choice, no candidate),
blank (a choice without text), blocked (prompt refused by the safety filter), refused (the reply stopped by it), length (cut off), hang (no reply,
ever), reset (connection reset before the reply), half (reset in the middle of the body).

What it says can be left to somebody else: --says tools/synthetic_teacher.py --told '{"pool": 60}' has the function `make(**told)` of that file make
what answers: a function of model, messages and seed that returns a text, or None for the usual reply.

As a process: python tools/faulty_server.py --port 0 --latency .2   prints {"port": ..., "url": ...} and serves until its standard input closes.
In a test: with start(latency=.2) as server: ... server.url, server.stats(), server.reset()"""
import argparse, asyncio, hashlib, json, random, re, runpy, subprocess, sys, urllib.request
from collections import Counter
from pathlib import Path

try: from aiohttp import web; from faulty_batches import Batches
except ImportError: sys.exit('tools/faulty_server.py needs aiohttp: pip install aiohttp')

MARK = re.compile(r'\[\[fault:(\w+)(?:\*(\d+))?\]\]')


class Faults:
    "Which fault, if any, an arrival meets"
    def __init__(self, seed=0, faults=None, per=200):
        self.rng, self.faults, self.per, self.block = random.Random(seed), dict(faults or {}), per, []
        if sum(self.faults.values()) > per: raise SystemExit(f'{sum(self.faults.values())} faults in {per} arrivals: too many')

    def _next(self):
        if not self.block:
            self.block = [f for f, n in self.faults.items() for _ in range(n)]
            self.block += [None]*(self.per-len(self.block))
            self.rng.shuffle(self.block)
        return self.block.pop()

    def of(self, text, times):
        "The fault for a prompt `text` that has arrived `times` times before"
        m = MARK.search(text)
        if m: return m[1] if m[2] is None or times < int(m[2]) else None
        return self._next() if self.faults else None


class Server:
    "The synthetic models: counts what arrives, answers or fails"
    def __init__(self, latency=0., retry_after=1., limit=0, key='', models=(), faults=None, seed=0, per=200, batches=None, says='', told=None):
        self.batches, self.says = batches or {}, runpy.run_path(says)['make'](**(told or {})) if says else None
        self.latency, self.retry_after, self.limit, self.key, self.models = latency, retry_after, limit, key, tuple(models)
        self.plan = lambda: Faults(seed, faults, per)
        self.reset()

    def reset(self):
        self.faults, self.arrived, self.by_fault, self.times = self.plan(), Counter(), Counter(), {}
        self.flying, self.peak, self.answered, self.body = getattr(self, 'flying', 0), 0, Counter(), None

    def app(self):
        app = web.Application(client_max_size=1 << 28)
        app.add_routes([web.get('/stats', self.stats), web.post('/reset', self.do_reset), web.get('/v1/models', self.openai_models),
            web.get('/v1/models/{model}', self.openai_model), web.post('/v1/chat/completions', self.openai_chat)])
        for v in ('v1', 'v1beta', 'v1alpha'):
            app.router.add_post(f'/{v}/models/{{model}}:generateContent', self.gemini_generate)
            app.router.add_get(f'/gemini/{v}/models', self.gemini_models) # /v1/models is OpenAI's here
            app.router.add_post(f'/gemini/{v}/models/{{model}}:generateContent', self.gemini_generate)
            app.router.add_get(f'/gemini/{v}/models/{{model}}', self.gemini_model)
            if v != 'v1': app.router.add_get(f'/{v}/models', self.gemini_models); app.router.add_get(f'/{v}/models/{{model}}', self.gemini_model)
        app.add_routes(Batches(self, OpenAI, Gemini, **self.batches).routes())
        return app

    async def stats(self, request):
        now = dict(arrivals=sum(self.arrived.values()), answered=sum(self.answered.values()), answered_twice=sum(n > 1 for n in self.answered.values()), in_flight=self.flying, peak=self.peak, by_fault=self.by_fault, by_content=self.arrived)
        if 'times' in request.query: now['times'] = self.times
        if 'body' in request.query: now['body'] = self.body
        return web.json_response(now)

    async def do_reset(self, request): self.reset(); return web.json_response({})

    # what both protocols share
    def admits(self, key, model):
        "HTTP status and message for a wrong key or model, else None"
        # repeating the key in the message is worse than what real services do: it must not get any further than the SDK
        if self.key and key != self.key: return 401, f'Incorrect API key provided: {key}. You can find your API key in your account.'
        if self.models and model not in self.models: return 404, f"The model '{model}' does not exist or you do not have access to it."

    async def meet(self, text):
        "Count an arrival, wait as long as a model would, and say which fault it meets"
        loop = asyncio.get_running_loop()
        fault = self.faults.of(text, self.arrived[text])
        self.arrived[text] += 1
        self.times.setdefault(text, []).append(round(loop.time(), 4))
        if self.limit and self.flying > self.limit: fault = '429'
        if fault: self.by_fault[fault] += 1
        if fault == 'hang': await asyncio.sleep(1e6)
        if self.latency and fault not in ('429', 'reset'): await asyncio.sleep(self.latency)
        return fault

    def reply(self, protocol, model, body, text, fault):
        "The body of an answer"
        said = self.says and self.says(model, *protocol.heard(body))
        return protocol.reply(model, body, text, fault, said or None)

    async def serve(self, request, protocol, key, model, body, text):
        if (seed := protocol.heard(body)[1]) is not None and self.says: text = f'{text} #{model} {seed}' # samples of one prompt are several requests
        self.flying, self.body = self.flying+1, body
        self.peak = max(self.peak, self.flying)
        try:
            wrong = self.admits(key, model)
            if wrong: self.by_fault[str(wrong[0])] += 1; self.arrived[text] += 1; return protocol.error(*wrong)
            fault = await self.meet(text)
            if fault == 'reset': request.transport.abort(); return web.Response()
            if fault and fault.isdigit(): return protocol.error(int(fault), f'Synthetic fault {fault}.', self.retry_after if fault in ('429', '503') else None)
            reply = json.dumps(self.reply(protocol, model, body, text, fault), ensure_ascii=False).encode()
            if fault == 'malformed': return web.Response(body=reply[:len(reply)//2], content_type='application/json')
            if fault == 'half': return await self.half(request, reply)
            if fault is None: self.answered[text] += 1
            return web.Response(body=reply, content_type='application/json')
        finally: self.flying -= 1

    async def half(self, request, reply):
        r = web.StreamResponse(headers={'Content-Type': 'application/json', 'Content-Length': str(len(reply))})
        await r.prepare(request)
        await r.write(reply[:len(reply)//2])
        request.transport.abort()
        return r

    # the OpenAI protocol
    async def openai_models(self, request):
        return web.json_response(dict(object='list', data=[dict(id=m, object='model', created=0, owned_by='synthetic') for m in self.models or ('synthetic',)]))

    async def openai_model(self, request):
        m = request.match_info['model']
        wrong = self.admits(_bearer(request), m)
        return OpenAI.error(*wrong) if wrong else web.json_response(dict(id=m, object='model', created=0, owned_by='synthetic'))

    async def openai_chat(self, request):
        body = await request.json()
        if not body.get('messages'): return OpenAI.error(400, 'Synthetic: messages must not be empty.') # some clients send this first, to read the headers
        return await self.serve(request, OpenAI, _bearer(request), body.get('model', ''), body, _content(body['messages'][-1].get('content')))

    # the Gemini protocol
    async def gemini_models(self, request):
        return web.json_response(dict(models=[_gemini_model(m) for m in self.models or ('synthetic',)]))

    async def gemini_model(self, request):
        m = request.match_info['model']
        wrong = self.admits(_goog(request), m)
        return Gemini.error(*wrong) if wrong else web.json_response(_gemini_model(m))

    async def gemini_generate(self, request):
        body = await request.json()
        text = ''.join(p.get('text', '') for p in body['contents'][-1]['parts'])
        return await self.serve(request, Gemini, _goog(request), request.match_info['model'], body, text)


def _bearer(request): return request.headers.get('Authorization', '').removeprefix('Bearer ')
def _goog(request): return request.headers.get('x-goog-api-key', request.query.get('key', ''))
def _gemini_model(m): return dict(name=f'models/{m}', displayName=m, supportedGenerationMethods=['generateContent', 'batchGenerateContent'])
def _content(c): return c if isinstance(c, str) else ''.join(p.get('text', '') for p in c or ())
def _tokens(text): return len(text.encode())//4+1


def instance(schema, text=''):
    "Something that fits a JSON `schema`"
    if 'enum' in schema: return schema['enum'][0]
    if 'anyOf' in schema: return instance(schema['anyOf'][0], text)
    kind = str(schema.get('type', 'object')).lower()
    if kind == 'object': return {k: instance(v, text) for k, v in schema.get('properties', {}).items()}
    if kind == 'array': return [instance(schema.get('items', {}), text)]*max(1, schema.get('minItems', 1))
    return dict(string=text or 'synthetic', integer=1, number=1.5, boolean=True, null=None).get(kind)


def _says(text, schema, seed):
    "A synthetic reply that depends on prompt and seed alone"
    digest = hashlib.sha256(f'{text}|{seed}'.encode()).hexdigest()
    return json.dumps(instance(schema, f'synthetic {digest[:8]}')) if schema else f'Synthetic reply {digest[:8]}.\nAnswer: {int(digest[:4], 16)%4+1}'


class OpenAI:
    def error(status, message, retry_after=None):
        kind = {401: 'invalid_api_key', 404: 'model_not_found', 429: 'rate_limit_exceeded', 400: 'invalid_request_error'}.get(status, 'server_error')
        return web.json_response(dict(error=dict(message=message, type=kind, param=None, code=kind)), status=status,
                                 headers={} if retry_after is None else {'Retry-After': f'{retry_after:g}'})

    def heard(body): return [(m['role'], _content(m.get('content'))) for m in body['messages']], body.get('seed')

    def reply(model, body, text, fault, said=None):
        schema = ((body.get('response_format') or {}).get('json_schema') or {}).get('schema')
        said = '' if fault == 'blank' else said or _says(text, schema, body.get('seed'))
        if fault == 'length': said = said[:9]
        message = dict(role='assistant', content=None if fault in ('refused', 'blocked') else said, refusal='Synthetic refusal.' if fault == 'refused' else None)
        choice = dict(index=0, message=message, logprobs=None, finish_reason={'length': 'length', 'blocked': 'content_filter'}.get(fault, 'stop'))
        n_in, n_out = sum(_tokens(_content(m.get('content'))) for m in body['messages']), _tokens(said)
        usage = dict(prompt_tokens=n_in, completion_tokens=n_out, total_tokens=n_in+n_out, prompt_tokens_details=dict(cached_tokens=0), completion_tokens_details=dict(reasoning_tokens=0))
        return dict(id='chatcmpl-synthetic', object='chat.completion', created=0, model=model, choices=[] if fault == 'empty' else [choice], usage=usage)


class Gemini:
    def error(status, message, retry_after=None):
        name = {400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 429: 'RESOURCE_EXHAUSTED', 500: 'INTERNAL', 503: 'UNAVAILABLE'}.get(status, 'UNKNOWN')
        # the real service gives the delay here and not in a header
        details = [] if retry_after is None else [{'@type': 'type.googleapis.com/google.rpc.RetryInfo', 'retryDelay': f'{retry_after:g}s'}]
        if status == 401: # and calls a wrong key an invalid argument
            status, name = 400, 'INVALID_ARGUMENT'
            details = [{'@type': 'type.googleapis.com/google.rpc.ErrorInfo', 'reason': 'API_KEY_INVALID', 'domain': 'googleapis.com'}]
        return web.json_response(dict(error=dict(code=status, message=message, status=name, details=details)), status=status)

    def heard(body):
        told = lambda c: ''.join(p.get('text', '') for p in c.get('parts', ()))
        system = [('system', told(body['systemInstruction']))] if 'systemInstruction' in body else []
        turns = [({'model': 'assistant'}.get(c.get('role'), c.get('role', 'user')), told(c)) for c in body['contents']]
        return system+turns, (body.get('generationConfig') or {}).get('seed')

    def reply(model, body, text, fault, said=None):
        config = body.get('generationConfig') or {}
        schema = config.get('responseJsonSchema') or config.get('responseSchema')
        said = '' if fault == 'blank' else said or _says(text, schema, config.get('seed'))
        if fault == 'length': said = said[:9]
        n_in, n_out = sum(_tokens(p.get('text', '')) for c in body['contents'] for p in c['parts']), _tokens(said)
        thoughts = 7 if config.get('thinkingConfig') else 0
        out = dict(usageMetadata=dict(promptTokenCount=n_in, candidatesTokenCount=n_out, thoughtsTokenCount=thoughts, totalTokenCount=n_in+n_out+thoughts), modelVersion=model, responseId='synthetic')
        if fault == 'blocked': return out | dict(promptFeedback=dict(blockReason='SAFETY'))
        if fault == 'empty': return out
        parts = [] if fault in ('blank', 'refused') else [dict(text=said)]
        if parts and (config.get('thinkingConfig') or {}).get('includeThoughts'): parts.insert(0, dict(text='Synthetic thought.', thought=True))
        reason = {'length': 'MAX_TOKENS', 'refused': 'SAFETY'}.get(fault, 'STOP')
        return out | dict(candidates=[dict(content=dict(role='model', parts=parts), finishReason=reason, index=0)])


async def serve_forever(server, port, watch):
    "Serve until standard input closes (`watch`), so that a killed parent leaves nothing behind, or until the process is stopped"
    runner = web.AppRunner(server.app(), access_log=None, handle_signals=False, shutdown_timeout=.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, '127.0.0.1', port, backlog=1024)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    print(json.dumps(dict(port=port, url=f'http://127.0.0.1:{port}')), flush=True)
    if watch: await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    else: await asyncio.Event().wait()
    await runner.cleanup()


def ask(url, path, **kw):
    "What a server says at `path` (/stats, /stats?times=1, /reset)"
    return json.load(urllib.request.urlopen(urllib.request.Request(url+path, **kw), timeout=30))


class start:
    "A server in a process of its own, with the options of the command line: `url`, `stats()`, `reset()`, `stop()`; a context manager"
    def __init__(self, **options):
        args = [a for k, v in options.items() for a in (f'--{k}', json.dumps(v) if isinstance(v, dict) else str(v))]
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), '--watch', *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line: raise RuntimeError('the test server did not start')
        self.__dict__.update(json.loads(line))

    def stats(self, times=False): return ask(self.url, '/stats'+('?times=1' if times else ''))
    def last(self): return ask(self.url, '/stats?body=1')['body'] # of the generation request that came last
    def reset(self): return ask(self.url, '/reset', method='POST', data=b'')
    def stop(self):
        if self.process.poll() is None: self.process.kill()
        self.process.wait(); self.process.stdin.close(); self.process.stdout.close()
    def __enter__(self): return self
    def __exit__(self, *_): self.stop()


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--port', type=int, default=0, help='0: any free one')
    p.add_argument('--latency', type=float, default=0., help='seconds from request to reply')
    p.add_argument('--seed', type=int, default=0, help='where faults fall')
    p.add_argument('--faults', type=json.loads, default={}, help='JSON: fault to times per block of arrivals')
    p.add_argument('--per', type=int, default=200, help='arrivals in a block')
    p.add_argument('--retry_after', type=float, default=1., help='seconds that a 429 or 503 asks to wait')
    p.add_argument('--limit', type=int, default=0, help='requests at once before it answers 429; 0: any number')
    p.add_argument('--key', default='', help='the only key that is accepted; empty: any')
    p.add_argument('--models', type=lambda s: s.split(','), default=(), help='names that exist, with commas; empty: any')
    p.add_argument('--batches', type=json.loads, default={}, help='JSON: how batch jobs go, see faulty_batches.py')
    p.add_argument('--says', default='', help='a Python file that says what is answered')
    p.add_argument('--told', type=json.loads, default={}, help='JSON: what its function `make` is told')
    p.add_argument('--watch', action='store_true', help='stop when standard input closes')
    a = vars(p.parse_args(argv))
    port, watch = a.pop('port'), a.pop('watch')
    try: asyncio.run(serve_forever(Server(**a), port, watch))
    except KeyboardInterrupt: pass


if __name__ == '__main__': main()
