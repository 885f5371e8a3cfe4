"""How fast a thousand requests go through `run`, what faults cost, and what stored replies cost.

    python bench/lm.py [--repeat 3] [--curator PYTHON]

PYTHON: an interpreter that has bespokelabs-curator, whose pins clash with ours, so that it wants an environment of its own.

All servers are tools/faulty_server.py in a process of its own on this machine; everything it says is synthetic. The requests go through the
real openai SDK, with the store on a disk. Beside it runs a bare script: AsyncOpenAI and a semaphore, no store, no retries of its own.
The sides take turns, so that other work on the machine meets both alike. Each is reported by its best of `--repeat` turns.

Last line, one JSON object: ideal_ratio (from call to return inside the process, over rounds x latency: 16 x 0.2 s), cpu_s (CPU seconds
of that call), bare_sdk_ratio and curator_ratio (whole processes, ours over theirs; null: not installed), cached_s (the same call with all replies stored),
faults (rows lost, requests that arrived, seconds; per 200 arrivals 10 x 429 with Retry-After 1, 4 x 500, 2 malformed bodies, 1 hang, timeout 10 s),
store (100,000 replies: seconds to open and look up 10,000, and what that adds to the memory in MiB, beside the same in a store of 10,000)."""
import argparse, asyncio, json, math, os, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
N, LATENCY, CONCURRENCY = 1000, .2, 64
IDEAL = math.ceil(N/CONCURRENCY)*LATENCY # the slowest place answers 16 requests
FAULTS = {'429': 10, '500': 4, 'malformed': 2, 'hang': 1} # in 200 arrivals
PROMPT = '다음 지문을 읽고 물음에 답하시오. 강은 언덕에서 시작되고 마을은 다리 주위에서 자라났다. 정답을 고르시오. '*8


def requests():
    from reasondistill.lm import Request
    return [Request(messages=[dict(role='user', content=f'{i}. {PROMPT}')]) for i in range(N)]


def provider(url):
    import openai # to load the SDK belongs to the process, as in the bare script, and not to the call
    from reasondistill.openai_lm import OpenAILM
    return OpenAILM('synthetic', f'{url}/v1', key='synthetic')


def cpu(): return time.process_time()
def memory(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])/1024


# each side is a process of its own: python bench/lm.py SIDE URL STORE
def ours(url, store, timeout=600.):
    "A whole process: 1,000 requests, then, in the same process, once more from the store"
    from reasondistill.lm import Store, run
    lm, asks, store = provider(url), requests(), Store(store)
    start, used = time.perf_counter(), cpu()
    replies = run(lm, asks, store, timeout=timeout)
    took, used = time.perf_counter()-start, cpu()-used
    return dict(call_s=took, cpu_s=used, process_cpu_s=cpu(), ok=sum(r.error is None for r in replies), errors=[r.error for r in replies if r.error][:3])


def faulty(url, store): return ours(url, store, timeout=10.)


def bare(url, store):
    "A whole process: what one writes without us"
    from openai import AsyncOpenAI
    used = cpu()
    async def main():
        gate = asyncio.Semaphore(CONCURRENCY)
        async with AsyncOpenAI(base_url=f'{url}/v1', api_key='synthetic') as client:
            async def one(i):
                async with gate: return await client.chat.completions.create(model='synthetic', messages=[dict(role='user', content=f'{i}. {PROMPT}')], max_tokens=256, temperature=0)
            start = time.perf_counter()
            replies = await asyncio.gather(*(one(i) for i in range(N)))
            return dict(call_s=time.perf_counter()-start, cpu_s=cpu()-used, ok=len(replies))
    out = asyncio.run(main())
    return out | dict(process_cpu_s=cpu())


def curator(url, folder):
    "A whole process: the same requests through curator, with its cache on and its limits out of the way"
    os.environ.update(CURATOR_CACHE_DIR=folder, CURATOR_DISABLE_RICH_DISPLAY='1', TELEMETRY_ENABLED='0', OPENAI_API_KEY='synthetic', HF_HUB_OFFLINE='1')
    from importlib.util import find_spec
    # curator counts tokens with a table that tiktoken would fetch; litellm, which curator needs, carries it
    if found := find_spec('litellm'): os.environ.setdefault('TIKTOKEN_CACHE_DIR', str(Path(found.origin).parent/'litellm_core_utils'/'tokenizers'))
    from bespokelabs import curator
    class Asker(curator.LLM):
        def prompt(self, row): return row['prompt']
        def parse(self, row, reply): return dict(reply=reply)
    limits = dict(max_requests_per_minute=10**7, max_tokens_per_minute=10**9, max_concurrent_requests=CONCURRENCY)
    lm = Asker(model_name='synthetic', backend='openai', backend_params=dict(base_url=f'{url}/v1', api_key='synthetic', **limits), generation_params=dict(max_tokens=256, temperature=0))
    start, used = time.perf_counter(), cpu()
    made = lm([dict(prompt=f'{i}. {PROMPT}') for i in range(N)])
    return dict(call_s=time.perf_counter()-start, cpu_s=cpu()-used, process_cpu_s=cpu(), ok=len(getattr(made, 'dataset', made)))


def look_up(url, store):
    "Open a store and look up 10,000 replies in it"
    from reasondistill.lm import Request, Store, request_key
    from reasondistill.store import recall
    asks = [_stored(i*int(url)//10_000) for i in range(10_000)]
    before, start = memory(), time.perf_counter()
    store = Store(store)
    keys = [request_key('synthetic', r) for r in asks]
    found = recall(store, keys, asks)
    return dict(seconds=time.perf_counter()-start, found=len(found), mib=memory()-before)


def _stored(i):
    from reasondistill.lm import Request
    return Request(messages=[dict(role='user', content=f'{i}. {PROMPT[:300]}')])


def fill(path, n):
    "A store of `n` replies of about 1,000 characters"
    from reasondistill.lm import Completion, Store
    from reasondistill.store import entry
    store = Store(path)
    store.add(entry('synthetic', _stored(i), Completion(text=f'{i} '+'Synthetic. '*90, usage=dict(input=120, output=300))) for i in range(n))
    store.close()


def process(side, *args, python=sys.executable):
    "Run a side as a process of its own; what it printed, and its seconds from start to end"
    start = time.perf_counter()
    p = subprocess.run([python, __file__, side, *map(str, args)], capture_output=True, text=True)
    took = time.perf_counter()-start
    if p.returncode: sys.exit(f'{side}: {p.stderr[-2000:]}')
    return json.loads(p.stdout.splitlines()[-1]) | dict(process_s=took)


def best(runs, key): return min(r[key] for r in runs)
def load(): return os.getloadavg()[0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeat', type=int, default=3)
    p.add_argument('--curator', metavar='PYTHON', default=None)
    args = p.parse_args()
    repeat, pythons = args.repeat, dict(curator=args.curator or sys.executable)
    sys.path.insert(0, str(HERE.parent/'tools'))
    import faulty_server
    try: import reasondistill.openai_lm, openai
    except ImportError as e: sys.exit(f'bench/lm.py needs the openai provider and SDK: {e}; pip install "reasondistill[openai]"')
    folder = tempfile.TemporaryDirectory(); top = Path(folder.name)
    print(f'{N} requests, {LATENCY} s latency, concurrency {CONCURRENCY}: ideal {IDEAL:.3f} s; load of the machine at the start {load():.2f}', flush=True)
    sides = dict(ours=[], bare=[])
    if subprocess.run([pythons['curator'], '-c', 'import bespokelabs.curator'], capture_output=True).returncode: print('curator is not installed: name an interpreter that has it with --curator')
    else: sides['curator'] = []
    with faulty_server.start(latency=LATENCY) as server:
        for i in range(repeat):
            for side in sides:
                server.reset()
                sides[side].append(r := process(side, server.url, top/(f'curator-{i}' if side == 'curator' else f'{i}.sqlite'), python=pythons.get(side, sys.executable)))
                assert r['ok'] == N == server.stats()['arrivals'], r
                print(f"{side:7s} call {r['call_s']:.2f} s (CPU {r['cpu_s']:.2f} s), whole process {r['process_s']:.2f} s (CPU {r['process_cpu_s']:.2f} s)", flush=True)
        server.reset()
        cached = [process('ours', server.url, top/'0.sqlite') for _ in range(repeat)]
        assert server.stats()['arrivals'] == 0
    print(f"all stored: call {best(cached, 'call_s'):.3f} s, process {best(cached, 'process_s'):.2f} s", flush=True)
    with faulty_server.start(latency=LATENCY, faults=FAULTS, per=200, retry_after=1) as server:
        r = process('faulty', server.url, top/'faults.sqlite')
        faults = dict(lost=N-r['ok'], requests=server.stats()['arrivals'], seconds=round(r['call_s'], 2))
        print(f"faults: {faults['lost']} rows lost, {faults['requests']} requests, {r['call_s']:.2f} s (met: {server.stats()['by_fault']})", flush=True)
    for n in (10_000, 100_000): fill(top/f'{n}.sqlite', n)
    small, large = (process('look_up', n, top/f'{n}.sqlite') for n in (10_000, 100_000))
    assert small['found'] == large['found'] == 10_000
    store = dict(seconds=round(large['seconds'], 2), mib=round(large['mib'], 1), mib_of_10000=round(small['mib'], 1), file_mib=round((top/'100000.sqlite').stat().st_size/2**20))
    print(f"100,000 stored replies ({store['file_mib']} MiB): open and look up 10,000 in {store['seconds']} s, {store['mib']} MiB; in a store of 10,000: {small['seconds']:.2f} s, {store['mib_of_10000']} MiB")
    print(f'load of the machine at the end {load():.2f}')
    ratio = lambda peer: round(best(sides['ours'], 'process_s')/best(sides[peer], 'process_s'), 3) if sides.get(peer) else None
    print(json.dumps(dict(ideal_ratio=round(best(sides['ours'], 'call_s')/IDEAL, 3), cpu_s=round(best(sides['ours'], 'cpu_s'), 2),
        bare_sdk_ratio=ratio('bare'), curator_ratio=ratio('curator'), cached_s=round(best(cached, 'call_s'), 3),
        faults=faults, store=store, load=round(load(), 2))))


if __name__ == '__main__':
    if len(sys.argv) > 1 and not sys.argv[1].startswith('-'): print(json.dumps(dict(ours=ours, bare=bare, curator=curator, faulty=faulty, look_up=look_up)[sys.argv[1]](*sys.argv[2:])))
    else: main()
