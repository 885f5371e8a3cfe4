"""How many model-written programs a second a warm pool runs, and what a few runaways among them cost.

    python bench/programs.py [--programs 600] [--runaways 4]

Half of the programs are plain arithmetic in a `solution()`, half solve an equation with sympy; each has numbers of its own and its result is checked. A second round
puts programs that never end among the first ones: how late does the last sound program come? The last line is one JSON object: per_second (all fences up, warm pool)."""
import argparse, json, time

from reasondistill.programs import layers, run_program, run_programs

PLAIN = 'def solution():\n    """A shop sells {a} bags with {b} pears each and keeps {c} pears."""\n    sold = {a} * {b}\n    total = sold + {c}\n    return total'
SOLVED = 'from sympy import Symbol, solve\nx = Symbol("x")\nans = solve({a}*x - {b}*{a} - {c}*{a}, x)[0]'


def made(n):
    "`n` programs and their results"
    for i in range(n):
        a, b, c = i%97+2, i%31+1, i%53
        yield (PLAIN if i%2 else SOLVED).format(a=a, b=b, c=c), a*b+c if i%2 else b+c


if __name__ == '__main__':
    ask = argparse.ArgumentParser()
    ask.add_argument('--programs', type=int, default=600)
    ask.add_argument('--runaways', type=int, default=4)
    how = ask.parse_args()
    codes, values = zip(*made(how.programs))
    run_programs(codes[:20]) # warm
    start = time.perf_counter()
    results = run_programs(codes)
    seconds = time.perf_counter()-start
    assert [r.value for r in results] == list(values)
    print(f'{how.programs} programs in {seconds:.1f} s; fences: {layers()}')
    start, runaways = time.perf_counter(), ['while True: pass']*how.runaways
    results = run_programs([*runaways, *codes[:100]], timeout=3)
    assert [r.value for r in results[how.runaways:]] == list(values[:100]) and all(r.error for r in results[:how.runaways])
    print(f'with {how.runaways} runaways of 3 s: 100 programs and the runaways in {time.perf_counter()-start:.1f} s')
    assert run_program('ans = 1').value == 1
    print(json.dumps(dict(per_second=round(how.programs/seconds))))
