"""Fine-tune-CoT on the published test problems that are at hand: every method, one cell after the other.

    python bench/finetune_cot.py --steps 64 --select last --max-new 192 --out runs/finetune_cot

The teacher computes its rationales unless --teacher names a language model (gemini:gemini-3-flash-preview). Goes on where it was stopped. <out>/results.json is written
after each cell: accuracy with interval, the other metrics, right answers on test stories that no training problem tells, what the run says
to the paper's claims, seconds of each cell. The last line is one JSON object.

asset/finetune_cot.json is what this command wrote for all methods but zero_shot_cot, few_shot_cot and cot; a trained cell took 1.5 to 8 minutes on one
thread of a busy machine."""
import argparse, json, time
from pathlib import Path

from reasondistill.cot_students import cot_preset
from reasondistill.cot_verdicts import cot_record, record_table, verdict_table
from reasondistill.finetune_cot import FILES, METHODS, CotData, CotRun, Experiment, cot_data, run_cot, teacher_named
from reasondistill.problem import write_text

PAPER_ROWS = [('GPT-3 175B', 'teacher'), ('GPT-3 6.7B', 'vanilla'), ('GPT-3 6.7B', 'cot'), ('GPT-3 6.7B', 'diverse'), ('T5 small', 'cot'), ('T5 small', 'diverse'), ('GPT-2 124M', 'cot'), ('GPT-2 124M', 'diverse')]


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


def seconds_of(folder):
    "What the cells in `folder` took when they were made"
    return json.loads((folder/'seconds.json').read_text()) if (folder/'seconds.json').exists() else {}


def record(runs, seconds, how, out):
    "Write what there is, and return it"
    found = cot_record(runs, seconds, settings(how).model_dump(mode='json'))
    write_text(out/'results.json', json.dumps(found, indent=1))
    return found


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
    runs, seconds, found = [], {}, None
    for task in how.tasks:
        data, replies, clock = data_of(task, how), {}, [time.time()]
        runs.append(CotRun(data, replies))
        seconds[task] = seconds_of(out/task)
        def done(method, answers):
            replies[method] = answers
            took, clock[0] = round(time.time()-clock[0], 1), time.time()
            seconds[task].setdefault(method, took) # a cell that was there took longer when it was made
            write_text(out/task/'seconds.json', json.dumps(seconds[task]))
            record(runs, seconds, how, out)
            print(f"{task} {method}: {sum(bool(r.correct) for r in answers)} of {len(answers)} right, {took} s", flush=True)
        run_cot(data, e, out, how.methods, done, progress=True)
    found = record(runs, seconds, how, out)
    print(record_table(found, PAPER_ROWS).to_string())
    print(verdict_table(found).to_string())
    print(json.dumps({t: {m: round(100*c['accuracy'], 1) for m, c in f['cells'].items()} for t, f in found['tasks'].items()}))


if __name__ == '__main__':
    from reasondistill.problem import UserError
    try: main()
    except UserError as e: raise SystemExit(str(e)) from None
