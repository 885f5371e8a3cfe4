"""How fast and how large a training step of ORPO is, beside TRL's.

    python bench/orpo.py           # SmolLM2 on the CPU, about half an hour on two cores
    python bench/orpo.py --quick   # fewer steps of fewer shapes
    python bench/orpo.py --cuda    # bf16 and 4-bit at 1.7B to 14B shapes with random weights, against TRL, Liger and Unsloth where they install

TRL's trainer and ours train SmolLM2-135M-Instruct in float32 with LoRA (rank 16, all linear layers but the head) on the same token ids, taken from
the rows that TRL tokenised, from the same weights, with the same optimiser and the same checkpointing setting. Each side runs in a process of its
own, so that its memory is its own; the two are there at the same time and take turns, a step each, so that whatever else the machine does meets both
alike. TRL gets a problem with three rejected responses as the three pairs that it needs, one after the other: accumulated over a step, since all at
once they take 20 GB.

A step is everything from collating a batch to the optimiser's update. Its time is the median of several, after one that does not count; its memory
is the peak of the resident memory over all steps of a shape above what was resident before the first one. Processor time, which other work on the
machine disturbs less than the clock, is shown beside. "tokens" compares the tokens that go through the layers; "reached" is the time that is saved,
as a share of what these tokens save in theory (over 100% where the head and attention save besides). "FLOP/s" counts the operations that a side's
tokens need (products with the weights and LoRA, attention that is not hidden, the head), against a measured product of two float32 matrices.

The last line is one JSON object: speeds in steps a second and memory, ours over TRL's. `speed_worst` is the least over all ratios of prompt and
response with one pair per problem."""
import argparse, gc, json, multiprocessing as mp, os, random, re, statistics, sys, tempfile, time

import torch

WORDS = ('river lamp count seven carry because apples harbour letter before and then the sum of both sides is greater than half so we take '
         'the other road').split()
SHAPES = {  # name: (prompt tokens, response tokens, rejected responses, nll_on)
    '1x1_full': (900, 250, 1, 'full'), '1x1_response': (900, 250, 1, 'response'), '1x3': (900, 250, 3, 'full'), 'short': (300, 60, 1, 'full'),
    'short_response': (300, 60, 1, 'response')}
SWEEP = [(10, 10), (10, 60), (10, 400), (30, 250), (60, 60), (60, 500), (120, 250), (250, 250), (250, 30), (600, 60)]


def texts(tok, prompt, response, rejected, problems=4, seed=0):
    "Rows of text with about so many tokens; every response of a problem is another one"
    rng = random.Random(f'{prompt} {response} {seed}')
    def some(n):
        out = ' '.join(rng.choice(WORDS) for _ in range(n))
        return tok.decode(tok(out, add_special_tokens=False).input_ids[:n])
    golden = [(some(prompt-1)+'\n', some(response-1)) for _ in range(problems)]
    return [dict(prompt=p, chosen=c, rejected=some(response-1)) for p, c in golden for _ in range(rejected)]


def student(args):
    "The model that is trained, with LoRA, and its tokenizer"
    from peft import LoraConfig, get_peft_model
    from reasondistill.local import load, quiet
    quiet()
    torch.manual_seed(0)
    model, tok = load(dtype=torch.float32) if not args.get('shape') else random_student(args)
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules='all-linear', task_type='CAUSAL_LM')), tok


def arguments(Config, args, **kw):
    cuda = bool(args.get('shape'))
    return Config(tempfile.mkdtemp(), per_device_train_batch_size=1, max_steps=100, learning_rate=1e-5, lr_scheduler_type='constant',
        use_cpu=not cuda, bf16=cuda, report_to='none', disable_tqdm=True, remove_unused_columns=False, gradient_checkpointing=args['checkpointing'],
        save_strategy='no', dataloader_pin_memory=False, logging_steps=10**9, train_sampling_strategy='sequential', **kw)


def trl_trainer(model, tok, rows, args):
    "TRL's trainer as it comes"
    os.environ['TRL_EXPERIMENTAL_SILENCE'] = '1'
    import datasets
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer
    datasets.disable_progress_bars()
    settings = arguments(ORPOConfig, args, beta=.1, max_length=16384)
    return ORPOTrainer(model, settings, train_dataset=datasets.Dataset.from_list(rows), processing_class=tok)


def token_rows(trainer, n):
    "The ids of TRL's rows, `n` neighbouring pairs of one problem at a time, as rows of ours"
    from reasondistill.orpo import Row, share
    cut = lambda ids, labels: tuple(i for i, l in zip(ids, labels) if l != -100)
    both = lambda r: tuple(cut(r[f'{s}_input_ids'], r[f'{s}_labels']) for s in ('chosen', 'rejected'))
    rows = [Row(tuple(r['prompt_input_ids']), both(r), ((0, 1),)) for r in trainer.train_dataset]
    return [share(rows[i:i+n]) for i in range(0, len(rows), n)]


class Side:
    "One side's trainer, which takes single steps"
    def __init__(self, name, args):
        self.name, self.args = name, args
        if args.get('limit'): torch.cuda.set_per_process_memory_fraction(args['limit'])
        self.model, self.tok = student(args)
        self.model.train()
        self.start = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}

    def shape(self, prompt, response, rejected, nll_on):
        "Make ready for steps of this shape"
        args = self.args
        with torch.no_grad():  # both sides begin every shape with the same weights
            for n, p in self.model.named_parameters():
                if n in self.start: p.copy_(self.start[n])
        rows = texts(self.tok, prompt, response, rejected)
        trl = trl_trainer(self.model, self.tok, rows, args)
        steps = range(0, len(rows), rejected)
        if self.name == 'trl': self.trainer, data = trl, [[[trl.train_dataset[j]] for j in range(i, i+rejected)] for i in steps]
        else:
            from transformers import TrainingArguments
            from reasondistill.orpo import orpo_trainer
            data = [[[rs]] for rs in token_rows(trl, rejected)]
            settings = arguments(TrainingArguments, args)
            self.trainer = orpo_trainer()(self.model, settings, [d[0][0] for d in data], self.tok.pad_token_id or 0, .1, nll_on)
        self.trainer.create_optimizer()
        self.trainer.current_gradient_accumulation_steps = len(data[0])
        if args['checkpointing']: self.model.gradient_checkpointing_enable(dict(use_reentrant=False))
        self.data, self.at = data, 0
        forget_peak()
        self.before = resident()
        return self.tokens()

    def tokens(self):
        "Tokens through the layers, tokens through the head, and pairs of tokens in attention, of the first batch"
        if self.name == 'trl':
            widths = [max(len(item[f'{s}_input_ids']) for s in ('chosen', 'rejected')) for item, in self.data[0]]
            return 2*sum(widths), 2*sum(widths), sum(n*n for n in widths)
        batch = self.trainer.data_collator(self.data[0][0])
        pairs, p = 0, 0
        for first, n in batch['spans'].tolist():
            p = n if first else p
            pairs += n*n/2+(0 if first else n*p)
        return batch['input_ids'].numel(), len(batch['target']), pairs

    def step(self):
        "One step: its seconds, its seconds of processor time, its loss"
        t = self.trainer
        data, self.at = self.data[self.at%len(self.data)], self.at+1
        wall, cpu = time.perf_counter(), time.process_time()
        loss = sum(t.training_step(t.model, t._prepare_inputs(t.data_collator(micro))).item() for micro in data)  # reading it waits for a GPU
        t.optimizer.step(); t.model.zero_grad()
        return time.perf_counter()-wall, time.process_time()-cpu, loss

    def memory(self): return peak()-self.before


def resident(): return torch.cuda.memory_allocated() if torch.cuda.is_available() else status('VmRSS')
def peak(): return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status('VmHWM')
def status(field): return int(re.search(rf'{field}:\s+(\d+)', open('/proc/self/status').read())[1])*1024


def forget_peak():
    "Start measuring the peak anew, with what is free given back to the system"
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        return torch.cuda.reset_peak_memory_stats()
    import ctypes
    ctypes.CDLL('libc.so.6').malloc_trim(0)
    open('/proc/self/clear_refs', 'w').write('5')


def worker(pipe, name, args):
    "A process of its own: does what it is told"
    import logging, warnings
    warnings.simplefilter('ignore'); logging.disable(logging.WARNING)
    torch.set_num_threads(args['threads'])
    try:
        side = Side(name, args)
        pipe.send('ready')
        while (order := pipe.recv()) is not None: pipe.send(getattr(side, order[0])(*order[1:]))
    except EOFError: return  # nobody asks any more
    except Exception as e:
        pipe.send(e)
        raise


class Remote:
    "A side in another process"
    def __init__(self, name, args):
        self.pipe, there = mp.get_context('spawn').Pipe()
        self.process = mp.get_context('spawn').Process(target=worker, args=(there, name, args), daemon=True)
        self.process.start()
        self.answer()

    def answer(self):
        got = self.pipe.recv()
        if isinstance(got, Exception): raise got
        return got

    def __call__(self, *order):
        self.pipe.send(order)
        return self.answer()


def matmul_speed(threads, device='cpu', dtype=torch.float32):
    "FLOP/s of a product of the size of a step's largest in the layers"
    torch.set_num_threads(threads)
    a, b = torch.randn(1408, 576, device=device, dtype=dtype), torch.randn(576, 1536, device=device, dtype=dtype)
    def once():
        began = time.perf_counter()
        for _ in range(10): a@b
        if device == 'cuda': torch.cuda.synchronize()
        return (time.perf_counter()-began)/10
    return 2*a.shape[0]*a.shape[1]*b.shape[1]/min(once() for _ in range(5))


def flops(counts, size):
    "What a step has to compute: forward, and backward to the hidden states, through frozen weights; LoRA's own gradients besides"
    layers, head, pairs = counts
    return layers*(4*size['weights']+6*size['lora'])+head*4*size['head']+pairs*14*size['attention']


def compare(sides, name, shape, steps, size, speed):
    "Both sides on one shape; prints, and gives speed and memory of ours over TRL's"
    counts = {k: side('shape', *shape) for k, side in sides.items()}
    first = {k: side('step') for k, side in sides.items()}
    taken = {k: [] for k in sides}
    for _ in range(steps):
        for k, side in sides.items(): taken[k].append(side('step'))
    time_, cpu = ({k: statistics.median(t[i] for t in v) for k, v in taken.items()} for i in (0, 1))
    memory = {k: side('memory') for k, side in sides.items()}
    work = {k: flops(c, size) for k, c in counts.items()}
    saved, could = 1-time_['ours']/time_['trl'], 1-counts['ours'][0]/counts['trl'][0]
    if shape[3] == 'full' and abs(first['ours'][2]/first['trl'][2]-1) > 1e-4: raise SystemExit(f'{shape}: the first losses differ: {first}')
    side = lambda k: f"{k} {time_[k]:7.2f} s {memory[k]/2**30:5.2f} GB {100*work[k]/time_[k]/speed:3.0f}% FLOP/s"
    print(f"{name:12} {shape[0]:4}+{shape[1]:3} 1x{shape[2]} {shape[3]:8} {side('trl')}  {side('ours')}  speed {time_['trl']/time_['ours']:.2f}x "
          f"(processor time {cpu['trl']/cpu['ours']:.2f}x) memory {memory['ours']/memory['trl']:.2f}x  tokens {counts['ours'][0]}/{counts['trl'][0]} "
          f"reached {f'{100*saved/could:.0f}%' if could > .05 else '-'}  loss {first['trl'][2]:.5f} {first['ours'][2]:.5f}", flush=True)
    return time_['trl']/time_['ours'], memory['ours']/memory['trl'], cpu['trl']/cpu['ours']


def sizes(model):
    "What `flops` needs to know"
    linear = [(n, m) for n, m in model.named_modules() if hasattr(m, 'in_features') and hasattr(m, 'out_features')]
    of = lambda keep: sum(m.in_features*m.out_features for n, m in linear if keep(n))
    c = model.config
    width = c.num_attention_heads*(getattr(c, 'head_dim', None) or c.hidden_size//c.num_attention_heads)
    return dict(lora=of(lambda n: 'lora_' in n), weights=of(lambda n: n.endswith('base_layer')), head=of(lambda n: n.endswith('lm_head')),
        attention=width*c.num_hidden_layers)


def on_cpu(quick, threads, checkpointing):
    args = dict(threads=threads, checkpointing=checkpointing)
    sides = {k: Remote(k, args) for k in ('trl', 'ours')}
    speed, size = matmul_speed(threads), sizes(student(args)[0])
    print(f'{threads} threads, {speed/1e9:.0f} GFLOP/s in a float32 product of 1408 x 576 x 1536; '
          f'checkpointing {"on" if checkpointing else "off"}; load {os.getloadavg()[0]:.1f}', flush=True)
    steps = 2 if quick else 5
    got = {k: compare(sides, k, s, steps, size, speed) for k, s in SHAPES.items()}
    sweep = [got['1x1_full'], got['1x1_response'], got['short']]
    for p, y in SWEEP[1:8:3] if quick else SWEEP:
        n = steps+4 if p+y < 200 else steps
        sweep += [compare(sides, 'sweep', (p, y, 1, on), n, size, speed) for on in ('full', 'response')[:1 if quick else 2]]
    ratios = {k: round(v[2], 3) for k, v in got.items()} | dict(worst=round(min(c for *_, c in sweep), 3))
    print(json.dumps({f'speed_{k}': round(v[0], 3) for k, v in got.items()} | dict(speed_worst=round(min(v for v, *_ in sweep), 3),
        memory=round(got['1x1_full'][1], 3), cpu_ratios=ratios)))


# --- on a GPU ---
QWEN3 = {'1.7B': (2048, 6144, 28, 16, 8), '4B': (2560, 9728, 36, 32, 8), '8B': (4096, 12288, 36, 32, 8), '14B': (5120, 17408, 40, 40, 8)}


def random_student(args):
    "A student of a Qwen3 shape with random weights on the GPU, in bf16 or 4-bit, with the packaged student's tokenizer"
    from transformers import AutoTokenizer, BitsAndBytesConfig, Qwen3Config, Qwen3ForCausalLM
    from reasondistill.local import embedded_student
    width, inner, layers, heads, keys = QWEN3[args['shape']]
    config = Qwen3Config(vocab_size=151936, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=keys, head_dim=128, tie_word_embeddings=width < 4096)
    if not args['four_bit']:
        with torch.device('cuda'): model = Qwen3ForCausalLM._from_config(config, dtype=torch.bfloat16)
    else:  # layer by layer, so that the whole never lies there in 16 bits
        import bitsandbytes as bnb
        with torch.device('meta'): model = Qwen3ForCausalLM._from_config(config, dtype=torch.bfloat16)
        for name, m in list(model.named_modules()):
            if isinstance(m, torch.nn.Linear) and 'lm_head' not in name:
                weight = torch.randn(m.out_features, m.in_features, device='cuda', dtype=torch.bfloat16)*.02
                packed = dict(compress_statistics=True, quant_type='nf4')
                new = bnb.nn.Linear4bit(m.in_features, m.out_features, bias=False, compute_dtype=torch.bfloat16, **packed)
                new.weight = bnb.nn.Params4bit(weight.cpu(), requires_grad=False, **packed).cuda()
                model.set_submodule(name, new)
        for name, p in list(model.named_parameters()):
            if p.is_meta:
                owner, last = model.get_submodule(name.rpartition('.')[0]), name.rpartition('.')[2]
                weight = torch.ones(p.shape, device='cuda', dtype=torch.bfloat16)
                setattr(owner, last, torch.nn.Parameter(weight if 'norm' in name else .02*torch.randn_like(weight)))
        model.tie_weights()
        model.model.rotary_emb = type(model.model.rotary_emb)(config, device='cuda')
        model.is_loaded_in_4bit, model.quantization_method = True, 'bitsandbytes'
        model.config.quantization_config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16)
    tok = AutoTokenizer.from_pretrained(str(embedded_student()))
    tok.pad_token = tok.pad_token or tok.eos_token
    return model, tok


def liger_step(side):
    "Liger's fused ORPO loss under TRL's batches, or None where Liger is not installed"
    try: from liger_kernel.chunked_loss import LigerFusedLinearORPOLoss
    except ImportError: return None
    fused = LigerFusedLinearORPOLoss(beta=.1)
    def step(t, batch):
        whole = t.concatenated_inputs(batch, padding_value=t.padding_value, device=t.args.device)
        lm = t.model.get_base_model()
        ids, mask = whole['concatenated_input_ids'], whole['concatenated_attention_mask']
        hidden = lm.base_model(ids, attention_mask=mask, use_cache=False).last_hidden_state
        return fused(lm.lm_head.weight, hidden[:, :-1], whole['concatenated_labels'][:, 1:])[0]
    return step


def gpu_steps(name, args, shape, steps):
    "Median seconds and peak memory of a step, in this process; None where the library is missing or memory does not suffice"
    if name == 'unsloth':
        try: import unsloth  # noqa: F401  it replaces transformers' and TRL's parts when it is imported
        except ImportError: return None
    try:
        side = Side('trl' if name in ('liger', 'unsloth') else name, args)
        side.shape(*shape)
        if name == 'liger':
            if (loss := liger_step(side)) is None: return None
            side.trainer.compute_loss = lambda model, inputs, **kw: loss(side.trainer, inputs)
        side.step()
        taken = [side.step() for _ in range(steps)]
    except torch.cuda.OutOfMemoryError: return 'out of memory'
    return statistics.median(t for t, *_ in taken), torch.cuda.max_memory_allocated()


def gpu_worker(pipe, *order): pipe.send(gpu_steps(*order))


def on_cuda(quick):
    "The same table on a GPU, and whether the 14B shape fits in 32 and 16 GB"
    if not torch.cuda.is_available(): sys.exit('--cuda: no CUDA GPU here')
    spawn = mp.get_context('spawn')
    def alone(*order):
        here, there = spawn.Pipe()
        p = spawn.Process(target=gpu_worker, args=(there, *order)); p.start()
        while not here.poll(1):
            if not p.is_alive(): return 'failed'
        out = here.recv(); p.join()
        return out
    say = lambda v: 'not installed' if v is None else v if isinstance(v, str) else f'{v[0]*1e3:.0f} ms, {v[1]/2**30:.1f} GB'
    print(torch.cuda.get_device_name())
    for four_bit in (False, True):
        for shape in list(QWEN3)[:1 if quick else None]:
            for size in ((900, 250, 1, 'full'), (900, 250, 3, 'full')):
                args = dict(threads=8, checkpointing=True, shape=shape, four_bit=four_bit)
                got = {k: say(alone(k, args, size, 2 if quick else 5)) for k in ('trl', 'liger', 'unsloth', 'ours')}
                print(f"{shape} {'4-bit' if four_bit else 'bf16'} {size}", got, flush=True)
    total = torch.cuda.get_device_properties(0).total_memory
    for budget, prompt, response in ((32, 4096, 2048), (16, 2048, 512), (16, 1024, 512)):
        args = dict(threads=8, checkpointing=True, shape='14B', four_bit=True, limit=budget*2**30/total)
        got = {k: say(alone(k, args, (prompt, response, 1, 'response'), 2)) for k in ('ours', 'trl')}
        print(f'14B 4-bit, {prompt} + 2 x {response} tokens in {budget} GB:', got, flush=True)


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument('--quick', action='store_true', help='fewer steps of fewer shapes')
    ask.add_argument('--cuda', action='store_true', help='on a GPU, at larger shapes')
    ask.add_argument('--threads', type=int, default=os.cpu_count() if 'OMP_NUM_THREADS' not in os.environ else int(os.environ['OMP_NUM_THREADS']))
    ask.add_argument('--checkpointing', action='store_true', help='gradient checkpointing on both sides')
    a = ask.parse_args()
    on_cuda(a.quick) if a.cuda else on_cpu(a.quick, a.threads, a.checkpointing)


if __name__ == '__main__': main()
