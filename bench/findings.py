"""Puts the method's claims to the test: every arm of a claim with every seed, one cell after the other.

    python bench/findings.py --claim 1 --seeds 0 1 2 --size cpu --out runs/findings
    python bench/findings.py --claim 1 2 6 7 --seeds 0          # a first look at several
    python bench/findings.py --list                             # claims, arms and how many cells are new

Goes on where it was stopped. A cell that several claims use is computed once, so another claim in the same folder starts with what is there. <out>/results.json is written after each
cell and keeps the claims of earlier calls: pairs and steps of each arm, its scores, and for each comparison the effect with its interval and verdict.
Copied to asset/findings.json, it is what the pages of the claims read. The last line is one JSON object: claim -> comparison -> effect, interval, verdict.

The smoke size needs no weights to speak of: --size smoke --tiny takes a random student of two layers."""
import argparse, json, os, sys, time
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

from reasondistill.findings import CLAIMS, Evidence, cell_name, evidence_table, run_claim, tiny_folder
from reasondistill.pipeline import options
from reasondistill.problem import UserError, write_text


def read(path):
    "What earlier calls left in `path`"
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else dict(claims={})


def listed(size):
    "Claims with their arms; a cell is marked at the claim that would compute it first"
    seen = set()
    for c in CLAIMS.values():
        new = []
        for a in c.arms:
            name = cell_name(a, size)
            new.append(a.name if name in seen else f'{a.name}*')
            seen.add(name)
        print(f"{c.number} {c.title}: {', '.join(new)}")
    print(f"* a cell of its own for each seed: {len(seen-{cell_name(a, size) for a in CLAIMS[7].arms if a.recipe is None})}; 'before' is one for all seeds")


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--claim', type=int, nargs='+', default=list(CLAIMS), choices=list(CLAIMS))
    ask.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    ask.add_argument('--size', default='cpu', choices=options('findings'))
    ask.add_argument('--out', default='runs/findings')
    ask.add_argument('--set', nargs='*', default=[], metavar='KEY=VALUE', help='overrides of the configuration for all arms, e.g. data.path=problems.jsonl')
    ask.add_argument('--tiny', action='store_true', help='a random student of two layers, for a trial')
    ask.add_argument('--list', action='store_true', help='only say what there is to do')
    ask.add_argument('--progress', action='store_true')
    how = ask.parse_args()
    if how.list: return listed(how.size)
    out = Path(how.out)
    overrides = [*how.set, *([f'student.model={tiny_folder(out/"tiny")}', 'student.name=tiny'] if how.tiny else [])]
    path, found = out/'results.json', {}
    results = read(path)
    for n in how.claim:
        clock = [time.time()]
        def done(arm, seed, tried):
            found[n] = tried
            results['claims'][str(n)] = tried.record() | dict(overrides=how.set, tiny=how.tiny)
            write_text(path, json.dumps(results, indent=1, ensure_ascii=False))
            cell = tried.cells[arm.name, seed]
            print(f"claim {n}, seed {seed}, {arm.name}: cell {cell.id}, {cell.pairs} pairs, {cell.steps} steps, {time.time()-clock[0]:.0f} s", flush=True)
            clock[0] = time.time()
        try: run_claim(n, out, how.seeds, how.size, overrides, done, how.progress)
        except UserError as e:
            print(f'claim {n}: {e}', file=sys.stderr, flush=True)
            continue
    said = {n: [Evidence(**e) for e in results['claims'][str(n)]['evidence']] for n in found}
    for es in said.values(): print(evidence_table(es, deciding=True).to_string(index=False))
    print(json.dumps({n: {e.about: dict(effect=round(e.effect, 4), low=round(e.low, 4), high=round(e.high, 4), verdict=e.verdict) for e in es if e.decides} for n, es in said.items()}))


if __name__ == '__main__': main()
