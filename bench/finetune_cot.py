"""Fine-tune-CoT on the published test problems that are at hand: every method, one cell after the other.

    python bench/finetune_cot.py --tasks coin_flip last_letter_concatenation tracking_shuffled_objects --out runs/finetune_cot

The teacher computes its rationales unless --teacher names a language model (gemini:gemini-3-flash-preview). Goes on where it was stopped. <out>/results.json is written
after each cell: accuracy with interval, the other metrics, right answers on test stories that no training problem tells, gains over
fine-tuning without rationales, seconds of this cell. The last line is one JSON object."""
import argparse, json, time
from pathlib import Path

from reasondistill.cot_results import PAPER, ORDER, cot_metrics, gain, result_table, cell_of
from reasondistill.cot_students import cot_preset
from reasondistill.finetune_cot import FILES, METHODS, CotData, Experiment, cot_data, known, run_cot, teacher_named, unseen
from reasondistill.problem import write_text

def settings(how):
    "The student's settings by the preset and what the command line changes"
    given = {k: v for k, v in dict(max_steps=how.steps, lr=how.lr, looks=how.looks, max_new=how.max_new, rank=how.rank, batch=how.batch, select=how.select, seed=how.seed).items() if v is not None}
    return cot_preset(how.preset, **given)


def data_of(task, how):
    "The data of `task`, cut to --limit problems on each side"
    root = Path(how.data)
    file, log = FILES[task]
    d = cot_data(task, root/'en/finetune_cot_12'/file, root/'en/llm_outputs/zero_shot_cot_logs'/log, few=how.few)
    return d if how.limit is None else CotData(d.task, d.train[:how.limit], d.validation[:how.limit], d.test[:how.limit], d.unplaced)


def record(results, out):
    "Write what there is"
    alone = {t: {p.id for p in unseen(d)} for t, d in results['data'].items()}
    of_unseen = lambda t, rs: dict(n=len(alone[t]), right=sum(bool(r.correct) for r in rs if r.problem_id in alone[t]))
    cells = [cell_of(t, m, rs) for t, ms in results['replies'].items() for m, rs in ms.items()]
    found = {t: {m: known(cot_metrics(rs)) | dict(seconds=results['seconds'][t].get(m), unseen_stories=of_unseen(t, rs)) | ({} if m == 'vanilla' or 'vanilla' not in ms else dict(over_vanilla=gain(results['data'][t].test, ms['vanilla'], rs)))
                 for m, rs in ms.items()} for t, ms in results['replies'].items()}
    paper = {f'{a} {b}'.strip(): {t: PAPER[a, b][ORDER.index(t)] for t in found} for a, b in PAPER if (a, b) != ('random', '')}
    write_text(out/'results.json', json.dumps(dict(problems={t: dict(train=len(d.train), validation=len(d.validation), test=len(d.test), unplaced=d.unplaced) for t, d in results['data'].items()},
                                                   ours=found, paper=paper), indent=1))
    return result_table(cells, [('GPT-3 175B', 'teacher'), ('GPT-3 6.7B', 'vanilla'), ('GPT-3 6.7B', 'cot'), ('GPT-3 6.7B', 'diverse'), ('T5 small', 'cot'), ('T5 small', 'diverse'), ('GPT-2 124M', 'cot'), ('GPT-2 124M', 'diverse')])


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--tasks', nargs='+', default=list(FILES), choices=list(FILES))
    ask.add_argument('--methods', nargs='+', default=list(METHODS), help="e.g. vanilla cot 'diverse D=16'")
    ask.add_argument('--out', default='runs/finetune_cot')
    ask.add_argument('--data', default='../shared/data', help='folder with en/finetune_cot_12 and en/llm_outputs')
    ask.add_argument('--student', default='', help='folder or hub id; empty: the packaged SmolLM2')
    ask.add_argument('--teacher', default='computed')
    ask.add_argument('--preset', default='cpu')
    ask.add_argument('--limit', type=int, help='problems on each side, for a trial')
    ask.add_argument('--few', type=int, help='training questions of the few-sample ablation: 8, 32 or 128')
    ask.add_argument('--select', choices=['last', 'validation', 'test'], help='which weights are kept')
    for name, kind in dict(steps=int, lr=float, looks=int, max_new=int, rank=int, batch=int, seed=int).items(): ask.add_argument(f'--{name.replace("_", "-")}', type=kind)
    how = ask.parse_args()
    e, out = Experiment(teacher_named(how.teacher), how.student, settings(how)), Path(how.out)
    results = dict(replies={}, seconds={}, data={})
    for task in how.tasks:
        results['data'][task], results['replies'][task], results['seconds'][task] = data_of(task, how), {}, {}
        clock = [time.time()]
        def done(method, replies):
            results['replies'][task][method] = replies
            results['seconds'][task][method] = round(time.time()-clock[0], 1)
            clock[0] = time.time()
            table = record(results, out)
            print(f"{task} {method}: {sum(bool(r.correct) for r in replies)} of {len(replies)} right, {results['seconds'][task][method]} s", flush=True)
        run_cot(results['data'][task], e, out, how.methods, done, progress=True)
    print(record(results, out).to_string())
    print(json.dumps({t: {m: round(100*cot_metrics(rs)['accuracy'], 1) for m, rs in ms.items()} for t, ms in results['replies'].items()}))


if __name__ == '__main__': main()
