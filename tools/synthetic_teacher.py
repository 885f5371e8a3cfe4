"""A synthetic teacher for tools/faulty_server.py: python tools/faulty_server.py --says tools/synthetic_teacher.py --told '{"pool": 60}'

It knows the problems of `reasondistill.tasks` and answers the package's own prompts: it solves, writes blueprints and transfers, solves blind, says
which options could be defended, and names errors. A share of its transfers it spoils on purpose, each in one of the ways of `DEFECTS`. What it says of a
problem when it reads it is true, but for a share of slips. A model whose name begins with student
makes the typical error each time. Nothing of this is the reply of a model."""
import json, re
from random import Random
from types import SimpleNamespace

from reasondistill.asking import Request
from reasondistill.problem import ASKED, Problem, content_id, messages, render
from reasondistill.services import sample_seed
from reasondistill.augmentation import Target, near_copies
from reasondistill.blueprint import ERROR_TYPES, states
from reasondistill.ablations import similar_reply
from reasondistill.tasks import domains, families, generate, particles, structure, worked
from reasondistill.teachers import as_reply, worked_transfer

# what is planted, and where it should be caught; 'written': the reply must not become a transfer at all
DEFECTS = {
    'not JSON': 'written', 'a field is missing': 'written', 'an answer that is no option': 'written',
    'a step is missing': 'structure', 'a dependency is missing': 'structure', 'two steps mapped to one': 'structure',
    'the passage tells the answer': 'form', 'in another language': 'form', 'a sentence in another language': 'form', 'an option gives itself away': 'form',
    'the rejected path confesses': 'form', 'paths of very different length': 'form',
    'the rejected path is right': 'rejected', 'the error comes at another step': 'rejected',
    'a copy of a seed': 'novelty', 'a seed with other names': 'novelty', 'a copy of a held-out problem': 'novelty',
    'the key is wrong': 'key', 'two options can be defended': 'unique', 'another kind of error': 'error'}
ORDERED = ('it is added.', '나중에 붙는다.') # how an order ends to which nothing was said yet
NOBODY = SimpleNamespace(id='synthetic', seed_id='synthetic') # stands for the blueprint, of which a reply holds nothing
OPTIONS_ONLY = {'an answer that is no option', 'an option gives itself away', 'two options can be defended', 'the key is wrong'}


def order_number(target):
    "The number under which an order for `target` arrives: the seed of its request"
    return sample_seed(Request(messages=[dict(role='user', content='')], seed=target.seed))


def pools(pool, held, langs, fams, seed, run=()):
    "Those of the `run` with these overrides, if any; else seed problems and held-out problems, the same for whoever asks with the same numbers"
    if run:
        from reasondistill.pipeline import compose, problems_from_tasks
        cfg = compose(*run)
        return problems_from_tasks(cfg.data, cfg.seed)
    seeds = generate(pool, families=tuple(fams), langs=tuple(langs), seed=seed)
    return seeds, generate(held, families=tuple(fams), langs=tuple(langs), seed=seed+1, exclude=seeds) if held else []


class Teacher:
    "Answers the package's prompts; `share` of its transfers are spoilt, `noise` of what it says as a reader is wrong"
    def __init__(self, pool=60, held=40, langs=('en', 'ko'), fams=(), seed=0, share=.5, noise=.02, run=()):
        self.share, self.noise = share, noise
        self.seeds, self.held = pools(pool, held, langs, fams or families(), seed, run)
        self.known, self.shown = {}, {} # what is true of a problem: by its solver's prompt, and by how its text begins in other prompts
        for p in self.seeds+self.held:
            w = worked(p)
            self.learn(p, truth=p.answer, golden=w.golden, slips=w.error_text, defensible=[p.answer] if p.choices else [], error=w.error_type, problem=p)
        self.heads = {render(f'{name}_{lang}', part='system', **self.blanks(name, lang, kind)): (name, lang)
                      for lang in ('en', 'ko') for name in ('blueprint', 'transfer', 'defend', 'defend_error', 'judge', 'similar', 'degrade') for kind in ('choice',)}

    def blanks(self, name, lang, kind): return dict(asked=ASKED[lang][kind])

    def learn(self, p, **facts):
        self.known[messages(p)[1]['content']] = facts
        text = render(f'problem_{p.lang}', problem=p)
        self.shown.setdefault(text[:60], {})[text] = facts

    def facts(self, prompt):
        "What is true of the problem with which `prompt` begins"
        near = self.shown.get(prompt[:60], {})
        return near[max((t for t in near if prompt.startswith(t)), key=len)]

    def __call__(self, model, said, seed):
        system, user = next((t for r, t in said if r == 'system'), ''), next(t for r, t in said if r == 'user')
        asked_again = sum(r == 'user' for r, _ in said) > 1 or not user.endswith(ORDERED)
        draft, rng = content_id(said) if asked_again else 0, Random(f'{seed} {said}')
        name, lang = self.heads.get(system, ('', ''))
        if name: return getattr(self, name)(user, lang, seed, draft, rng)
        facts = self.known.get(said[-1][1])
        if model.startswith('student'): return facts and facts.get('slips') # it makes the typical error of the family, each time
        return facts and self.solve(facts, said[-1][1], rng)

    def alike(self, family, lang, kind, defect):
        "The problems of which `defect` makes a copy"
        return [p for p in (self.held if defect == 'a copy of a held-out problem' else self.seeds) if (p.meta['family'], p.lang, p.kind) == (family, lang, kind)]

    def planted(self, number, target, draft=0):
        "The defect of the `draft` for the order `number`, or None"
        rng, fits = Random(f'{number} {draft}'), lambda d: self.alike(target.structure, target.lang, target.kind, d)
        ways = [d for d in DEFECTS if (target.kind == 'choice' or d not in OPTIONS_ONLY) and (DEFECTS[d] != 'novelty' or fits(d))]
        return rng.choice(ways) if rng.random() < self.share else None

    def slip(self, rng): return rng.random() < self.noise

    # what a reader says
    def solve(self, facts, prompt, rng):
        if 'golden' in facts and not facts.get('blind'): return facts['golden']
        others = facts.get('others') or ['0']
        return f"Synthetic.\n{'정답' if re.search('[가-힣]', prompt) else 'Answer'}: {rng.choice(others) if self.slip(rng) else facts['truth']}"

    def defend(self, user, lang, seed, draft, rng):
        facts = self.facts(user)
        named = facts['defensible'] if not self.slip(rng) else sorted({*facts['defensible'], *facts.get('others', ())[:1]})
        return json.dumps(dict(reasons=['synthetic'], defensible=named))

    def defend_error(self, user, lang, seed, draft, rng):
        return json.dumps(dict(line='synthetic', error_types=[rng.choice(list(ERROR_TYPES)) if self.slip(rng) else self.facts(user)['error']]))

    def judge(self, user, lang, seed, draft, rng): return 'TIE'

    # what a teacher writes
    def blueprint(self, user, lang, seed, draft, rng):
        p = self.facts(user)['problem']
        s, w = structure(p.meta['family']), worked(p)
        lines = {i: line for i, line, _ in w.steps}
        wrong = {i: line for i, line, _ in w.error_steps}.get(s.error_step, '')
        steps = [dict(id=x.id, kind=x.kind, text=x.text, needs=list(x.needs), quote=lines[x.id]) for x in s.steps]
        return json.dumps(dict(structure=s.name, steps=steps, criterion=s.criterion, distractor='the answer of the typical error', temptation=s.temptation,
                               error_type=s.error_type, error_step=s.error_step, departure=wrong if wrong and wrong in user else ''), ensure_ascii=False)

    def transfer(self, user, lang, seed, draft, rng):
        field = lambda *names: re.search(rf"^(?:{'|'.join(names)}): (.*)$", user, re.M)[1]
        plan = re.search(r'^\[(?:Plan|설계도): (.*)\]$', user, re.M)[1]
        kind = next(k for k, a in ASKED[lang].items() if a == field('Kind of answer', '답의 형식'))
        place = re.search(r'(?:the right one is number|정답 번호:) (\d+)', user)
        order = Target(plan, field('Domain', '분야'), field('Subject', '과목'), 'cross-domain', lang, kind, int(place[1])-1 if place else 0, seed if not draft else int(draft, 16)%10**8)
        return self.write(order, self.planted(seed, order, draft), rng)

    def similar(self, user, lang, seed, draft, rng):
        p = self.facts(user)['problem']
        order = Target(p.meta['family'], rng.choice(domains(p.meta['family'])), '', 'cross-domain', lang, p.kind, rng.randrange(4), rng.randrange(10**8))
        t = worked_transfer(NOBODY, order)
        self.learn(t.problem, blind=True, truth=t.problem.answer, error=structure(order.structure).error_type, defensible=[t.problem.answer] if t.problem.choices else [])
        return similar_reply(t)

    def degrade(self, user, lang, seed, draft, rng):
        w = worked(self.facts(user)['problem'])
        return json.dumps(dict(rejected=w.error_text.splitlines()[:-1], rejected_answer=w.error_answer), ensure_ascii=False)

    def write(self, order, defect, rng):
        "A reply to `order`, with the `defect`"
        t = worked_transfer(NOBODY, order._replace(lang={'en': 'ko', 'ko': 'en'}[order.lang]) if defect == 'in another language' else order)
        if DEFECTS.get(defect) == 'novelty': t = self.copy(order, defect, rng)
        while DEFECTS.get(defect) != 'novelty' and near_copies([t.problem], self.seeds+self.held): t = worked_transfer(NOBODY, order, t) # a small world: some draws are there already
        r, facts = json.loads(as_reply(t)), dict(blind=True, truth=t.problem.answer, error=structure(order.structure).error_type)
        others = [str(i+1) for i in range(len(r['choices'])) if str(i+1) != t.problem.answer] or ['0']
        facts.update(defensible=[t.problem.answer] if r['choices'] else [], others=others)
        r = SPOIL.get(defect, lambda r, *_: r)(r, order, facts, rng)
        if isinstance(r, str): return r
        try: p = Problem(id='x', question=r['question'], passage=r['passage'], choices=r['choices'], answer=None, kind=order.kind, lang=order.lang)
        except (KeyError, ValueError): return json.dumps(r, ensure_ascii=False)
        self.learn(p, **facts)
        return json.dumps(r, ensure_ascii=False)

    def copy(self, order, defect, rng):
        "A transfer that tells a seed or a held-out problem of the same structure again"
        p = rng.choice(self.alike(order.structure, order.lang, order.kind, defect))
        w, plan = worked(p), structure(order.structure).steps
        steps = [dict(id=i, kind=s.kind, needs=list(s.needs), text=line, value=value) for s, (i, line, value) in zip(plan, w.steps)]
        return worked_transfer(NOBODY, order).model_copy(update=dict(problem=p.model_copy(update=dict(meta=p.meta | dict(steps=steps))), chosen=w.golden, rejected=w.error_text, rejected_answer=w.error_answer))


def other_language(lang): return 'This sentence was left in the language of somebody else.' if lang == 'ko' else '이 문장은 다른 나라 말로 남아 있다.'


def wrong_key(r, order, facts, rng):
    free = [o for o in facts['others'] if o != r['rejected_answer']]
    return r | dict(answer=rng.choice(free or facts['others']))


def two_defensible(r, order, facts, rng):
    "A wrong option says in other words what the right one says"
    right = int(r['answer'])-1
    at = rng.choice([i for i in range(len(r['choices'])) if i != right and str(i+1) != r['rejected_answer']] or [i for i in range(len(r['choices'])) if i != right])
    said = r['choices'][right]
    facts['defensible'] = sorted([r['answer'], str(at+1)])
    return r | dict(choices=[(particles(f'바로 {said}') if order.lang == 'ko' else f'just {said}') if i == at else c for i, c in enumerate(r['choices'])])


def elsewhere(r, order, facts, rng):
    "The rejected path leaves at the last step, or at the first one, and not where the error belongs"
    lines, steps = list(r['rejected']), r['steps']
    idle = '이 부분은 서둘러 넘어간다.' if order.lang == 'ko' else 'This part is passed over in haste.'
    early, late = [idle, *lines[1:]], [s['text'] for s in steps[:-1]]+lines[-1:]
    silent = not states('\n'.join(lines[1:]), steps[0]['value']) # otherwise the first step is told by a later line
    return r | dict(rejected=early if silent and rng.random() < .5 else late)


def another_error(r, order, facts, rng):
    "At the error step the rejected path guesses"
    at = [s.id for s in structure(order.structure).steps].index(structure(order.structure).error_step)
    facts['error'] = 'hasty generalisation' if facts['error'] != 'hasty generalisation' else 'premise ignored'
    guess = '대개는 이럴 때 그러하므로 여기서도 그렇다고 본다.' if order.lang == 'ko' else 'It is usually so in such cases, so it is so here.'
    return r | dict(rejected=[guess if i == at else line for i, line in enumerate(r['rejected'])])


def renamed(r, order, facts, rng):
    "All given names exchanged"
    from reasondistill.tasks import _NAMES
    names, text = _NAMES[('en', 'ko').index(order.lang)], json.dumps({k: r[k] for k in ('passage', 'question', 'choices', 'steps', 'rejected')}, ensure_ascii=False)
    used = [n for n in names if n in text]
    new = dict(zip(used, rng.sample([n for n in names if n not in used], len(used))))
    swap = lambda t: re.sub('|'.join(sorted(used, key=len, reverse=True)), lambda m: new[m[0]], t) if used else t
    out = r | json.loads(swap(text))
    if order.kind in ('text',): out |= dict(answer=swap(r['answer']), rejected_answer=swap(r['rejected_answer'])); facts['truth'] = out['answer']
    return out


def stands_out(r, order, facts, rng):
    more = ', 글이 처음부터 끝까지 되풀이하여 힘주어 말하고 있는 바로 그것' if order.lang == 'ko' else ', which is exactly what the text says again and again from its beginning to its very end'
    return r | dict(choices=[c+more if str(i+1) == r['answer'] else c for i, c in enumerate(r['choices'])])


def told(r, order, facts, rng):
    return r | dict(passage=r['passage']+(f" 정답은 {r['answer']}이다." if order.lang == 'ko' else f" (Answer: {r['answer']})"))


SPOIL = {
    'not JSON': lambda r, *_: 'Here is the problem that you asked for, without braces.',
    'a field is missing': lambda r, *_: {k: v for k, v in r.items() if k != 'rejected'},
    'an answer that is no option': lambda r, *_: r | dict(answer='9'),
    'a step is missing': lambda r, o, f, rng: r | dict(steps=r['steps'][:-1]),
    'a dependency is missing': lambda r, o, f, rng: r | dict(steps=[*r['steps'][:-1], r['steps'][-1] | dict(needs=[])]),
    'two steps mapped to one': lambda r, o, f, rng: r | dict(steps=[*r['steps'][:-1], r['steps'][-1] | dict(maps_to=r['steps'][0]['maps_to'])]),
    'the passage tells the answer': told, 'an option gives itself away': stands_out,
    'a sentence in another language': lambda r, o, f, rng: r | dict(passage=f"{r['passage']} {other_language(o.lang)}"),
    'the rejected path confesses': lambda r, o, f, rng: r | dict(rejected=[*r['rejected'], '이 풀이는 일부러 틀리게 쓴 것이다.' if o.lang == 'ko' else 'This solution is wrong on purpose.']),
    'paths of very different length': lambda r, o, f, rng: r | dict(rejected=[*r['rejected'][:-1], *[('다시 한번 천천히 읽어 보아도 같은 생각이 든다.' if o.lang == 'ko' else 'Reading it once more and slowly leads to the same thought.')]*12, r['rejected'][-1]]),
    'the rejected path is right': lambda r, o, f, rng: r | dict(rejected=[s['text'] for s in r['steps']], rejected_answer=r['answer']),
    'the error comes at another step': elsewhere, 'a seed with other names': renamed,
    'the key is wrong': wrong_key, 'two options can be defended': two_defensible, 'another kind of error': another_error}


def make(**told): return Teacher(**told)
