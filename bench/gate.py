"""What the gate catches: transfers with planted defects, and sound ones, sent through the real google-genai SDK.

    python bench/gate.py [--n 1200]

The teacher is synthetic (tools/synthetic_teacher.py behind tools/faulty_server.py, a process of its own): it writes transfers of the embedded problem
families, Korean and English, and spoils half of them, each in one of the ways of its table DEFECTS. The gate asks it as well: three blind solves, three
readers of the options, three of the error's type; each of these replies is a slip with a chance of 2%. So this measures the checks and how they stand
a reader who errs now and then; it does not measure how well any model reads.

A planted defect counts as caught where the first check that fails is the one that is meant for it (invalid replies: nothing is written). `caught_anywhere`: by
whichever check. Sound transfers that are dropped are listed.

Last line, one JSON object: caught and sound_dropped (shares), by_check (share of the defects meant for each check that it caught), caught_anywhere,
planted and sound (counts), seconds."""
import argparse, json, sys, time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tools'))


def hard_negatives(seeds, teacher):
    "The seeds with the teacher's replies and the typical error of the family as the student's"
    from reasondistill.answers import grade
    from reasondistill.problem import HardNegative, Response
    from reasondistill.tasks import worked
    student = lambda p: grade(Response(problem_id=p.id, model='synthetic student', text=worked(p).error_text), p)
    return [HardNegative(problem=p, golden=g, failed=student(p), teacher_right=1, teacher_n=1, student_right=0, student_n=1, p_fails=.75) for p, g in zip(seeds, teacher.solve(seeds))]


def through(lm, n, share):
    "(defect, the first check that failed, evidence) for each of `n` orders; 'kept' and 'written' for no check and no transfer"
    import synthetic_teacher as synthetic
    from reasondistill.augmentation import plan_id, schedule, transfer_all
    from reasondistill.lm import Store
    from reasondistill.tasks import domains
    from reasondistill.teachers import LMTeacher
    writer = synthetic.make(share=share) # as in the server's process
    seeds, held = writer.seeds, writer.held

    teacher = LMTeacher(lm, Store(), repairs=0)
    blueprints = teacher.blueprint(hard_negatives(seeds, teacher))
    plan = schedule(blueprints, n, domains('two_step'), 0)
    gate = teacher.gate(against=held) # the default one
    done = transfer_all(teacher, plan, {p.id: p for p in seeds}, gate, rounds=0)
    by_plan = {t.meta['plan']: t for t in done.transfers}
    for b, target in plan:
        t = by_plan.get(plan_id(b, target))
        fell = None if t is None else next((c for c in t.checks if not c.ok), None)
        where = 'written' if t is None else fell.name if fell else 'kept'
        yield writer.planted(synthetic.order_number(target), target), where, fell.evidence if fell else done.unwritten.get(plan_id(b, target), '')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--n', type=int, default=1200, help='transfers ordered')
    n, share, start = p.parse_args().n, .5, time.perf_counter()
    try: import faulty_server; from reasondistill.gemini_lm import GeminiLM; import google.genai
    except ImportError as e: sys.exit(f'bench/gate.py needs the gemini provider and SDK: {e}; pip install "reasondistill[gemini]"')
    from synthetic_teacher import DEFECTS
    with faulty_server.start(says=HERE.parent/'tools'/'synthetic_teacher.py', told=dict(share=share)) as server:
        seen = list(through(GeminiLM('synthetic', base_url=server.url, key='synthetic'), n, share))
    table = Counter((d, where) for d, where, _ in seen)
    print(f"{'planted':36s} {'meant for':10s} {'n':>4s}  where it fell")
    for d in [*DEFECTS, None]:
        fell = {w: c for (x, w), c in sorted(table.items(), key=lambda kv: -kv[1]) if x == d}
        print(f"{d or 'nothing: sound':36s} {DEFECTS.get(d, 'kept'):10s} {sum(fell.values()):4d}  {', '.join(f'{w} {c}' for w, c in fell.items())}")
    for d, where, evidence in seen:
        if d is None and where != 'kept': print(f'sound, dropped at {where}: {evidence}')
    planted = [(d, w) for d, w, _ in seen if d]
    sound = [w for d, w, _ in seen if d is None]
    share_of = lambda hits: round(sum(hits)/len(hits), 4) if hits else None
    by_check = {c: share_of([w == c for d, w in planted if DEFECTS[d] == c]) for c in dict.fromkeys(DEFECTS.values())}
    print(json.dumps(dict(caught=share_of([w == DEFECTS[d] for d, w in planted]), sound_dropped=share_of([w != 'kept' for w in sound]), by_check=by_check,
        caught_anywhere=share_of([w != 'kept' for _, w in planted]), planted=len(planted), sound=len(sound), seconds=round(time.perf_counter()-start, 1))))


if __name__ == '__main__': main()
