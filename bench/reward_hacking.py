"""Does a student that is paid for right answers learn to get them without reasons? MathQA as multiple choice against its numeric form.

    python bench/reward_hacking.py --out runs/reward_hacking

On either form a student is warmed up on the same solutions and trained by ReFT with the same budget. Before and after it answers the same test problems; the table says
how many of its right answers have empty or wrong reasoning, with intervals, and what the same rules find in the worked solutions. Goes on where it was stopped. Without
--steps and the other numbers it should take under 20 minutes on two free threads of a CPU (an estimate). <out>/results.json has the table; the last line is one JSON object:
the share of right answers without sound reasons by form, before and after."""
import argparse, json
from pathlib import Path

from reasondistill.data import read_problems
from reasondistill.reward_hacking import FORMS, StudySettings, form_table, hacking_data, hacking_study


def settings(how):
    "The study's settings, with what the command line changes"
    given = lambda names: {k: v for k in names if (v := getattr(how, k)) is not None}
    base = StudySettings()
    ppo = base.ppo.model_copy(update=given(('steps', 'questions', 'lr', 'beta', 'max_new', 'rows', 'save_steps')))
    return base.model_copy(update=dict(ppo=type(ppo)(**ppo.model_dump()), **given(('samples', 'rank', 'warm_epochs', 'warm_lr', 'rule', 'seed'))))


def main():
    ask = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ask.add_argument('--out', default='runs/reward_hacking')
    ask.add_argument('--data', default='../shared/data/en/reft', help='folder with mathqa_original_test.jsonl and mathqa_test_set.json')
    ask.add_argument('--student', default='', help='folder or hub id; empty: the packaged SmolLM2')
    ask.add_argument('--train', type=int, default=80, help='problems to train on, as many as there are at most')
    ask.add_argument('--test', type=int, default=100)
    ask.add_argument('--words', type=int, default=25, help='of a worked solution, at most')
    ask.add_argument('--rule', help='what is paid: paper, strict or original_code')
    for name in ('steps', 'questions', 'max_new', 'rows', 'save_steps', 'samples', 'rank', 'warm_epochs', 'seed'): ask.add_argument(f'--{name.replace("_", "-")}', type=int)
    for name in ('lr', 'beta', 'warm_lr'): ask.add_argument(f'--{name.replace("_", "-")}', type=float)
    how = ask.parse_args()
    data = hacking_data(*(read_problems(Path(how.data)/f) for f in ('mathqa_original_test.jsonl', 'mathqa_test_set.json')), how.words, how.train, how.test)
    print(f'{len(data.train)} problems to train on, {len(data.test)} to test, each in both forms', flush=True)
    study = hacking_study(data, how.out, settings(how), how.student, progress=True)
    table = study.table()
    print(table.round(3).to_string())
    print(form_table(data.problems('choice'), study.runs['choice', 'after'], study.runs['numeric', 'after']).round(3).to_string())
    print(json.dumps({f'{f}, {r}': None if (v := table.loc[(f, r), 'at_least'])!=v else round(v, 3) for f in FORMS for r in ('before', 'after')}))


if __name__ == '__main__':
    from reasondistill.problem import UserError
    try: main()
    except UserError as e: raise SystemExit(str(e)) from None
