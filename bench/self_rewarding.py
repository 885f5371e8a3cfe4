"""Does iteration without an external check amplify noise? The packaged student teaches itself on the problem families, judged by itself, by its own majority, or by gold.

    python bench/self_rewarding.py --seeds 0 1 2 --out runs/self_rewarding                              # the comparison
    python bench/self_rewarding.py --guard --check --arms planted gold self --out runs/self_rewarding   # the guard

The student is first warmed up on worked solutions. All arms of a seed begin with it, on the same problems; in every round each is trained on as many pairs, for as many
steps, as the others. With --guard the arms stand alone, each with the guard that goes with what it knows. Goes on where it was stopped. <out>/results.json is written
after each round: for each arm and round right answers on the evaluation set, the share of chosen replies that are wrong by gold, the measures of `collapse` and its
alarms (which nobody obeys in the comparison); differences to the first arm with intervals; seconds in all calls. dashboard.html in the folder of an arm shows them. Copied to
asset/self_rewarding.json, results.json is what page 23b reads. The last line is one JSON object."""
import argparse, json, os, shutil, time
from pathlib import Path


def problems_of(how, seed):
    "Problems to begin with, to evaluate, and to warm up on"
    from reasondistill.pipeline import compose, problems_from_tasks
    data = compose(f'data.pool={how.problems+how.warm}', f'data.held_out={how.evaluation}', 'data.control_n=0').data
    made, held = problems_from_tasks(data, seed)
    return made[:how.problems], held, made[how.problems:]


def warmed(how, seed, problems, out):
    "The folder of the student after one pass over worked solutions of `problems`, all weights; made once. A student that answers next to nothing has nothing to judge"
    if not problems: return how.student
    from reasondistill.local import LocalLM, load
    from reasondistill.problem import content_id, messages
    from reasondistill.reft import warm_up
    from reasondistill.tasks import worked
    import torch
    plan = content_id(how.student, how.warm_lr, seed, *(p.id for p in problems))
    folder, part = out/f'student-{plan}', out/f'student-{plan}.part'
    if folder.exists(): return str(folder)
    model, tok = load(how.student, torch.float32)
    asked = LocalLM(model, tok, 'student').prompt
    warm_up(model, tok, [(asked(messages(p)), worked(p).golden) for p in problems], epochs=1, of=1, lr=how.warm_lr, batch=8, seed=seed, out=part/'warm_up', save_steps=1000)
    model.to(torch.bfloat16).save_pretrained(part)
    tok.save_pretrained(part)
    shutil.rmtree(part/'warm_up', ignore_errors=True)
    os.replace(part, folder)
    return str(folder)


def arms_of(how, seed, out):
    "The loops, by name"
    import reasondistill.self_rewarding as sr
    from reasondistill.lm import Store
    pool, held, rest = problems_of(how, seed)
    given = dict(rounds=how.rounds, problems=how.problems, samples=how.samples, pairs=how.pairs, writer=how.writer, new=how.new, max_tokens=how.max_tokens, seed=seed,
                 logps=how.logps, methods=('generate', 'choose'), **({} if how.guard else dict(policy=None)))
    if how.steps: given['train'] = dict(max_steps=how.steps)
    student, store = Timed(warmed(how, seed, rest, out)), Store(out/'replies.sqlite') # one student in memory; what round 0 answers is the same for all arms
    judge, margin = dict(planted='external'), dict(self=how.margin, consistency=how.quorum, gold=.5, planted=.5)
    checked = lambda a: how.guard and how.check and a != 'gold'
    settings = {a: sr.loop_preset('cpu', judge=judge.get(a, a), margin=margin[a], quorum=how.quorum, checked=how.problems//2, check='gold' if checked(a) else 'none', **given)
                for a in how.arms}
    teachers = dict(planted=Tempted())
    return {a: sr.Loop(student, pool, held, out/a, s, teacher=teachers.get(a), progress=a, store=store) for a, s in settings.items()}, student


class Tempted:
    "A teacher that falls for the typical error of every problem: a collapse that is planted"
    name = 'planted'
    def solve(self, problems, samples):
        from reasondistill.problem import Response
        from reasondistill.tasks import worked
        said = [(p, worked(p)) for p in problems]
        return [Response(problem_id=p.id, model=self.name, sample=i, text=w.error_text, answer=w.error_answer) for p, w in said for i in range(samples)]


def Timed(model):
    "A local student that counts the seconds of its trainings, and the pairs"
    from reasondistill.self_rewarding import LocalStudent
    class Timed(LocalStudent):
        seconds = pairs = 0.
        def train(self, adapters, pairs, out, settings, progress=False):
            began = time.process_time()
            try: return super().train(adapters, pairs, out, settings, progress)
            finally: self.seconds += time.process_time()-began; self.pairs += len(pairs)
    return Timed(model)


def differences(loops):
    "Right answers of each arm minus those of the first, in points, by round and method"
    import reasondistill.self_rewarding as sr
    plain = lambda t: json.loads(t.reset_index().to_json(orient='records'))
    if len({tuple(l.done) for l in loops.values()}) > 1: return {}
    return {m: plain(sr.comparison_table(loops, m)) for m in ('generate', 'choose')}


def record(loops, clock):
    "What there is of `loops`"
    import reasondistill.self_rewarding as sr
    found = {}
    for a, l in loops.items():
        if not l.done: continue
        sr.write_dashboard(l)
        found[a] = dict(rounds=sr.loop_rows(l), collapse=json.loads((l.out/'collapse.json').read_text(encoding='utf-8')))
    return dict(settings={a: l.settings.model_dump(mode='json') for a, l in loops.items()}, arms=found, differences=differences(loops), seconds=clock)


def run(how, seed):
    "All rounds of the arms of one seed; results.json holds what there is after each"
    import reasondistill.self_rewarding as sr
    from reasondistill.problem import write_text
    path, kind = Path(how.out)/'results.json', 'guarded' if how.guard else 'compared'
    results = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
    folder = Path(how.out)/f'{kind}-{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    loops, student = arms_of(how, seed, folder)
    clock = results.get(kind, {}).get(str(seed), {}).get('seconds', {})
    began = [time.time(), time.process_time()]
    def after(loops, what):
        now = [time.time(), time.process_time()]
        took = dict(wall=now[0]-began[0], cpu=now[1]-began[1], cpu_of_trainings=student.seconds, trained_pairs=int(student.pairs))
        clock[what] = {k: round(v+clock.get(what, {}).get(k, 0), 1) for k, v in took.items()}
        began[:] = now
        student.seconds = student.pairs = 0.
        results.setdefault(kind, {})[str(seed)] = record(loops, clock)
        write_text(path, json.dumps(results, indent=1, ensure_ascii=False))
    if not how.guard: sr.compare_loops(loops, lambda loops, k: after(loops, f'round {k}'))
    for a, l in loops.items() if how.guard else ():
        sr.run_loop(l)
        after(loops, a)
    shown = {a: sr.loop_table(l) for a, l in loops.items()} if how.guard else {'compared': sr.comparison_table(loops)}
    for a, t in shown.items(): print(f'{a}, seed {seed}', t.to_string(), sep='\n', flush=True)
    return results[kind][str(seed)]


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--arms', nargs='+', default=['gold', 'self', 'consistency'], choices=['self', 'consistency', 'gold', 'planted'],
                     help='the first one is what the others are compared with; planted: a judge that takes typical errors for right')
    ask.add_argument('--out', default='runs/self_rewarding')
    ask.add_argument('--seeds', type=int, nargs='+', default=[0])
    ask.add_argument('--student', default='', help='folder or hub id; empty: the packaged SmolLM2')
    ask.add_argument('--guard', action='store_true', help='each arm by itself, with a guard')
    ask.add_argument('--check', action='store_true', help='with --guard: gold on half of the problems for the guard and for verified pairs')
    ask.add_argument('--writer', default='tasks', choices=['none', 'student', 'tasks'])
    ask.add_argument('--margin', type=float, default=.05, help="least lead of the chosen reply in the student's own marks")
    ask.add_argument('--quorum', type=float, default=.375, help='share of the replies that a majority needs')
    ask.add_argument('--warm', type=int, default=96, help='problems whose worked solutions the student imitates once before it begins; 0: none')
    ask.add_argument('--warm-lr', type=float, default=1e-4)
    ask.add_argument('--steps', type=int, help='of a training, at most')
    ask.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', 1)))
    for name, n in dict(rounds=3, problems=48, samples=8, evaluation=120, pairs=48, new=12, max_tokens=96, logps=24).items(): ask.add_argument(f'--{name.replace("_", "-")}', type=int, default=n)
    how = ask.parse_args()
    import torch
    torch.set_num_threads(how.threads)
    kept = ('round', 'right', 'right_samples', 'wrong_chosen', 'told', 'alarms', 'act')
    made = {seed: run(how, seed) for seed in how.seeds}
    print(json.dumps(dict(bench='self_rewarding', rounds=how.rounds,
                          seeds={s: dict(arms={a: {k: r['rounds'][-1][k] for k in kept} for a, r in m['arms'].items()}, seconds=m['seconds']) for s, m in made.items()})))


if __name__ == '__main__':
    from reasondistill.problem import UserError
    try: main()
    except UserError as e: raise SystemExit(str(e)) from None
