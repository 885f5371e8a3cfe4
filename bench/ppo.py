"""A step of our PPO against a straightforward one, on the packaged SmolLM2 with LoRA.

    python bench/ppo.py [--quick] [--threads N]

Both learn from the same replies (of random length, to questions of the shape of SVAMP's), with the same settings: four replies to each of eight questions, scored
once under policy, reference and value head, then two passes over all of it. The straightforward side computes each reply in a padded sequence of its own, with all
logits in float32, against a second copy of the model; both in parts of eight replies. Each side runs in a process of its own; memory is what the step adds at
its peak to the memory of the library, weights included. Losses must agree. The last line is one JSON object."""
import argparse, copy, ctypes, gc, json, multiprocessing as mp, os, random, re, statistics, time

import torch


def status(field): return int(re.search(rf'{field}:\s+(\d+)', open('/proc/self/status').read())[1])*1024


def replies(tok, questions, samples, seed=0):
    "Replies of 30 to 120 tokens to questions of 40 to 90 tokens, as rollouts; words are drawn at random, only their shape matters"
    from reasondistill.policy import Rollout
    rng, words = random.Random(seed), [i for i in range(1000, 20_000)]
    out = []
    for _ in range(questions):
        prompt = tuple(rng.choices(words, k=rng.randint(40, 90)))
        for _ in range(samples):
            n, ends = rng.randint(30, 120), rng.random() < .9
            out.append(Rollout(prompt, (*rng.choices(words, k=n), *([tok.eos_token_id] if ends else [])), '', 'stop' if ends else 'length'))
    return out


def student(seed=0):
    "The packaged student with fresh LoRA in all linear layers, whose second matrices are not zero, in float32"
    from reasondistill.local import load
    from reasondistill.training import Settings, lora
    model, tok = load(dtype=torch.float32)
    return lora(model, Settings(rank=16, seed=seed)), tok


class Ours:
    "The step of `reasondistill.reft`"
    def __init__(self, settings):
        from reasondistill.policy import Policy
        model, self.tok = student()
        self.policy, self.settings = Policy(model, self.tok), settings
        self.optimizer = torch.optim.AdamW(list(self.policy.parameters().values()), settings.lr, weight_decay=0.)

    def step(self, rollouts, judged, n):
        from reasondistill.reft import experience, learn
        return learn(self.policy, self.optimizer, experience(self.policy, rollouts, judged, self.settings, self.settings.beta), self.settings, n)


class Plain:
    "As one would write it: padded sequences, full logits, a reference of its own"
    def __init__(self, settings):
        model, self.tok = student()
        self.model, self.settings = model.eval(), settings
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        self.head = torch.nn.Linear(model.config.hidden_size, 1)
        for p in self.head.parameters(): torch.nn.init.zeros_(p)
        self.params = [p for p in model.parameters() if p.requires_grad]+list(self.head.parameters())
        self.optimizer = torch.optim.AdamW(self.params, settings.lr, weight_decay=0.)

    def forward(self, model, rollouts):
        "Log-probabilities and values of the replies in `rollouts`, padded to the same width"
        P, T = max(len(r.prompt) for r in rollouts), max(len(r.tokens) for r in rollouts)
        pad = self.tok.pad_token_id
        ids = torch.tensor([[pad]*(P-len(r.prompt))+[*r.prompt, *r.tokens]+[pad]*(T-len(r.tokens)) for r in rollouts])
        seen = torch.tensor([[0]*(P-len(r.prompt))+[1]*(len(r.prompt)+len(r.tokens))+[0]*(T-len(r.tokens)) for r in rollouts])
        out = model(ids, attention_mask=seen, position_ids=(seen.cumsum(1)-1).clamp(min=0), output_hidden_states=True, use_cache=False)
        logp = out.logits.float()[:, P-1:-1].log_softmax(-1)
        return logp.gather(-1, ids[:, P:, None])[..., 0], self.head(out.hidden_states[-1][:, P-1:-1].float())[..., 0], logp

    def look(self, part, width):
        wide = lambda x: torch.nn.functional.pad(x, (0, width-x.shape[1]))
        with torch.no_grad():
            logps, values, logp = self.forward(self.model, part)
            entropies = -(logp.exp()*logp).sum(-1)
            del logp
            return [wide(x) for x in (logps, self.forward(self.reference, part)[0], values, entropies)]

    def step(self, rollouts, judged, n):
        from reasondistill.ppo import approx_kl, gae, policy_loss, token_rewards, value_loss, whiten
        from reasondistill.reft import in_parts, minibatches
        s, width = self.settings, max(len(r.tokens) for r in rollouts)
        logps, refs, values, _ = map(torch.cat, zip(*(self.look(p, width) for p in in_parts(rollouts, s.rows))))
        mask = torch.arange(width) < torch.tensor([len(r.tokens) for r in rollouts])[:, None]
        logps, refs, values = (x.masked_fill(~mask, 0) for x in (logps, refs, values))
        advantages, returns = gae(token_rewards(torch.tensor([j.reward for j in judged]), logps, refs, mask, s.beta), values, mask, s.gamma, s.lam)
        advantages, row = whiten(advantages, mask), {}
        for epoch in range(s.epochs):
            self.optimizer.zero_grad()
            row = dict(policy_loss=0., value_loss=0., update_kl=0.)
            for part in in_parts(minibatches(rollouts, 1, f'{n} {epoch}')[0], s.rows):
                new, v, _ = self.forward(self.model, [rollouts[i] for i in part])
                w, share = new.shape[1], len(part)/len(rollouts)
                of = lambda x: x[part][:, :w]
                pg, vf = policy_loss(new, of(logps), of(advantages), of(mask), s.clip)[0], value_loss(v, of(values), of(returns), of(mask), s.value_clip)[0]
                ((pg+s.value_weight*vf)*share).backward()
                for k, x in dict(policy_loss=pg.item(), value_loss=vf.item(), update_kl=approx_kl(of(logps), new.detach(), of(mask))).items(): row[k] += x*share
            torch.nn.utils.clip_grad_norm_(self.params, s.max_grad_norm)
            self.optimizer.step()
        return row


def worker(pipe, name, how):
    "Steps of one side in a process of its own: seconds of each, what the last one said, and the peak of memory"
    import logging, warnings
    warnings.simplefilter('ignore'); logging.disable(logging.WARNING)
    torch.set_num_threads(how['threads'])
    from reasondistill.reft import ppo_preset
    from reasondistill.rewards import Judged
    gc.collect(); empty = status('VmRSS')
    side = dict(ours=Ours, plain=Plain)[name](ppo_preset(rows=how['rows'], lr=1e-4))
    gc.collect(); ctypes.CDLL('libc.so.6').malloc_trim(0)
    resting = status('VmRSS')
    open('/proc/self/clear_refs', 'w').write('5')
    pipe.send('ready')
    taken, said = [], []
    while (n := pipe.recv()) is not None:
        rollouts = replies(side.tok, how['questions'], how['samples'], n)
        rng = random.Random(n)
        judged = [Judged(rng.choice([0., .1, 1.]), None, 'wrong') for _ in rollouts]
        began = time.perf_counter()
        said.append(side.step(rollouts, judged, n)); taken.append(time.perf_counter()-began)
        pipe.send('done')
    peak = status('VmHWM')
    pipe.send(dict(seconds=taken, said=said, peak=peak-empty, step=peak-resting, resting=resting-empty))


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--quick', action='store_true', help='fewer questions and steps')
    ask.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', os.cpu_count())))
    ask.add_argument('--samples', type=int, default=4, help='replies to a question')
    a = ask.parse_args()
    how = dict(threads=a.threads, questions=2 if a.quick else 8, samples=a.samples, rows=8)
    spawn, sides = mp.get_context('spawn'), {}
    for name in ('plain', 'ours'):
        here, there = spawn.Pipe()
        process = spawn.Process(target=worker, args=(there, name, how), daemon=True); process.start()
        sides[name] = here
        here.recv()
    for n in range(3 if a.quick else 4):  # one after the other, never both; the first step warms up
        for pipe in sides.values(): pipe.send(n); pipe.recv()
    for pipe in sides.values(): pipe.send(None)
    got = {k: pipe.recv() for k, pipe in sides.items()}
    for k, g in got.items():
        print(f"{k:6} {statistics.median(g['seconds'][1:]):7.2f} s a step; {g['peak']/2**30:.2f} GB at its peak with weights, of which the step {g['step']/2**30:.2f} GB and at rest {g['resting']/2**30:.2f} GB")
    for one, two in zip(got['ours']['said'], got['plain']['said']):
        worst = max(abs(one[k]-two[k])/max(.05, abs(two[k])) for k in two)
        if worst > 1e-2: raise SystemExit(f'the sides disagree: {one} {two}')
    print('the losses agree')
    print(json.dumps(dict(speed=round(statistics.median(got['plain']['seconds'][1:])/statistics.median(got['ours']['seconds'][1:]), 3),
                          memory=round(got['ours']['peak']/got['plain']['peak'], 3))))


if __name__ == '__main__': main()
