"""How fast a grid of D completions for N questions is curated on one core.

    python bench/curation.py [--questions 1563] [--d 64]

Made-up word problems with two steps get D completions each: four wordings with other names and filler, of which some are copies, near copies, cut off, wrong in
a step or in the answer. Every answer is read again by the published rule, every rationale is recomputed, and copies are looked for among all completions of a question.
The last line is one JSON object: completions, seconds, per_second, kept, and how many met which other fate."""
import argparse, json, random, time

from reasondistill.curation import Rules, curate
from reasondistill.problem import Problem, Response

WORDINGS = [('First we look at what {n} had, {a} {w}. {n} gave {b} away, so {a} - {b} = {d} {w} are left.', 'Each of the {d} costs {c} coins. {d} * {c} = {e}.'),
            ('{n} starts with {a} {w} and gives away {b}. That leaves {d}, since {a} - {b} = {d}.', 'They are sold for {c} each, which brings {c} * {d} = {e} coins.'),
            ('There were {a} {w}. Without the {b} that {n} gave away there are {a} - {b} = {d}.', 'For {d} {w} at {c} coins one gets {d} x {c} = {e}.'),
            ('We want to know how many coins {n} gets. {n} can sell {a} - {b} = {d} {w}.', 'Every one brings {c} coins; {d} times {c} is {e}.')]
NAMES, WARES = 'Mia Tom Ida Leo Ada Ben Zoe Max Eva Jon'.split(), 'hats pears books lamps cups shells nets keys'.split()
FILLER = 'Now this is simple . Let us go on carefully . That is the first half . So far nothing is lost . We check it once more . It could be told in another way'.split(' . ')


def question(k):
    "A made-up problem, and the numbers behind it"
    rng = random.Random(k)
    a, b, c = rng.randint(20, 900), rng.randint(2, 19), rng.randint(2, 40)
    v = dict(n=rng.choice(NAMES), w=rng.choice(WARES), a=a, b=b, c=c, d=a-b, e=(a-b)*c)
    text = '{n} has {a} {w}, gives away {b} and sells the others for {c} coins each. How many coins does {n} get?'.format(**v)
    return Problem(id=f'q{k}', question=text, kind='number', answer=str(v['e']), meta=dict(task='multiarith')), v


def completion(problem, v, k):
    "Completion number `k`, of any quality"
    rng = random.Random(f'{problem.id}-{k}')
    first, second = rng.choice(WORDINGS)
    slip = rng.random()
    now = v | (dict(d=v['d']+1) if slip<.05 else {})
    text = ' '.join([first.format(**now), *rng.sample(FILLER, rng.randint(0, 4)), second.format(**v)])
    cut, wrong = rng.random()<.1, rng.random()<.2
    text = text[:len(text)*2//3] if cut else text
    said = f" {v['e']+7 if wrong else v['e']} coins."
    return Response(problem_id=problem.id, model='made-up', sample=k, text=f'{text}\nTherefore, the answer is{said}', finish='length' if cut else 'stop', meta=dict(rationale=text, said=said))


if __name__ == '__main__':
    ask = argparse.ArgumentParser()
    ask.add_argument('--questions', type=int, default=1563)
    ask.add_argument('--d', type=int, default=64)
    how = ask.parse_args()
    made = [question(k) for k in range(how.questions)]
    grid = [completion(p, v, k) for p, v in made for k in range(how.d)]
    start = time.process_time()
    done = curate([p for p, _ in made], grid, Rules(verdict='published', whole=True, faults=True, exact=True, near=.9))
    seconds = time.process_time()-start
    print(f'{len(grid):,} completions of {how.questions:,} questions in {seconds:.1f} s on one core')
    print(json.dumps(dict(completions=len(grid), seconds=round(seconds, 2), per_second=round(len(grid)/seconds), **done.counts)))
