"""ReFT against SFT and self-training on SVAMP's problems of one step, with voting and reranking: every cell of one table.

    python bench/reft.py --out runs/reft

Goes on where it was stopped, within a cell too. <out>/results.json is written after each cell: accuracy with interval, gains over SFT with exact
tests, vote, reranking and oracle over k, seconds of the cell. The last line is one JSON object.

All cells take as many optimizer steps on as many examples (see `reft_results`). The offline baseline tries each training problem `tries` times, not
the authors' hundred: a setting that stands in the record. With --estimate nothing is kept; a step of each kind and a few replies are timed, and the
minutes that each cell will take are told: do that first on a machine that is not known, and change the sizes where they do not suit. asset/reft.json is what the defaults gave: 44 minutes
on one thread beside another training, 30 minutes of computing."""
import argparse, json, tempfile, time
from dataclasses import replace
from pathlib import Path

from reasondistill.reft_results import METHODS, ReftExperiment, reft_data, reft_preset, reft_table, run_reft


def estimate(e):
    "Expected minutes of each cell of `e` when all is as fast as a step of each kind and a few replies are now"
    from reasondistill.policy import write
    from reasondistill.reft_results import Imitation, gold_examples
    from reasondistill.reft import PPO
    clock = lambda run: (time.time(), run(), time.time())
    seconds = lambda t: t[2]-t[0]
    s, d = e.settings, e.data
    with tempfile.TemporaryDirectory() as out:
        e = replace(e, out=Path(out))
        model, tok = e.base()
        asked = [e.prompt(p) for p in d.test[:24]]
        reply = seconds(clock(lambda: write(model, tok, asked, 1, s.max_new)))/len(asked)
        policy = e.under_lora(model, tok)
        imitate = seconds(clock(Imitation(policy, d.train, gold_examples(e), e.ppo(questions=s.batch, samples=1)).step))
        rounds = seconds(clock(PPO(policy, d.train, e.ppo(), e.reward, e.prompt).step))
    said = lambda n: n*reply*2/3 # a trained student ends before the last token that it may write
    answer, more = said(len(d.test)+s.voted*s.k), s.steps*s.epochs
    cells = dict(warm_up=s.warm_steps*imitate+answer, sft=more*imitate+answer+(s.judged+2*s.voted*s.k)*imitate/s.batch/3,
                 offline=said(len(d.train)*s.tries)+(s.warm_steps+more)*imitate+answer, online=s.steps*rounds+answer, reft=s.steps*rounds+answer)
    print(json.dumps(dict(reply=round(reply, 2), imitation_step=round(imitate, 1), round=round(rounds, 1),
                          minutes={m: round(t/60, 1) for m, t in cells.items()}, total=round(sum(cells.values())/60, 1))))


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--methods', nargs='+', default=list(METHODS), choices=list(METHODS))
    ask.add_argument('--out', default='runs/reft')
    ask.add_argument('--data', default='../shared/data', help='folder with en/reft')
    ask.add_argument('--student', default='', help='folder or hub id; empty: the packaged SmolLM2')
    ask.add_argument('--preset', default='cpu')
    ask.add_argument('--limit', type=int, help='problems on each side, for a trial')
    ask.add_argument('--estimate', action='store_true', help='measure a step of each kind for a minute or two, and say how long the cells will take')
    for name, kind in dict(steps=int, lr=float, seed=int, warm_steps=int, warm_lr=float, questions=int, samples=int, tries=int, keep=int, judged=int, voted=int, k=int, max_new=int, rank=int).items():
        ask.add_argument(f'--{name.replace("_", "-")}', type=kind)
    how = ask.parse_args()
    changes = {k: v for k, v in vars(how).items() if k not in ('methods', 'out', 'data', 'student', 'preset', 'limit', 'estimate') and v is not None}
    files = (Path(how.data)/'en/reft'/f'svamp_{n}.json' for n in ('nl', 'test_set'))
    e = ReftExperiment(reft_data(*files, limit=how.limit), Path(how.out), reft_preset(how.preset, **changes), how.student, progress=True)
    if how.estimate: return estimate(e)
    def done(method, results): print(f"{method}: {results[method]['right']} of {results[method]['n']} right, {results[method]['seconds']} s", flush=True)
    results = run_reft(e, how.methods, done)
    print(reft_table(results).T.to_string())
    print(json.dumps({m: dict(accuracy=round(100*r['accuracy'], 1), seconds=r['seconds'], over_sft=r['over_sft'].get('greedy'),
                              at_k={g: round(100*c[-1]['accuracy'], 1) for g, c in r['curves'].items()}) for m, r in results.items()}))


if __name__ == '__main__':
    from reasondistill.problem import UserError
    try: main()
    except UserError as e: raise SystemExit(str(e)) from None
